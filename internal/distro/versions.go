package distro

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:embed standin/libc.versions
var libcVersions string

// versionNode is one symbol version and the names that have it.
type versionNode struct {
	version string // "2.14", or "PRIVATE"
	names   []string
}

// versionScript returns the linker's version script of a library ("libc.so") of glibc 2.minor.
func versionScript(library string, minor int, arch string) (string, error) {
	nodes, err := versionNodes(library, minor, arch)
	if err != nil {
		return "", err
	}
	var script strings.Builder
	previous := ""
	for i, n := range nodes {
		fmt.Fprintf(&script, "GLIBC_%s {\n  global:\n    %s;\n", n.version,
			strings.Join(n.names, ";\n    "))
		if i == 0 {
			script.WriteString("  local: *;\n")
		}
		fmt.Fprintf(&script, "}%s;\n", previous)
		previous = " GLIBC_" + n.version
	}
	return script.String(), nil
}

// versionNodes reads the library's section of standin/libc.versions, which lists versions in rising
// order.
func versionNodes(library string, minor int, arch string) ([]versionNode, error) {
	var nodes []versionNode
	in := false
	for line := range strings.Lines(libcVersions) {
		head, names, found := strings.Cut(strings.TrimSpace(line), ":")
		if !found || strings.HasPrefix(head, "#") {
			continue
		}
		if names == "" {
			in = head == library
			continue
		}
		words := strings.Fields(head)
		version := strings.TrimPrefix(words[0], "GLIBC_")
		if base := targets[arch].base; version == "BASE" || compareVersions(version, base) < 0 {
			version = base
		}
		if !in || !exported(version, words[1:], minor, arch) {
			continue
		}
		if len(nodes) == 0 || nodes[len(nodes)-1].version != version {
			nodes = append(nodes, versionNode{version: version})
		}
		last := &nodes[len(nodes)-1]
		for name := range strings.FieldsSeq(names) {
			if !slices.Contains(last.names, name) {
				last.names = append(last.names, name)
			}
		}
	}
	if nodes == nil {
		return nil, fmt.Errorf("standin/libc.versions: no library %q", library)
	}
	return nodes, nil
}

// exported reports whether glibc 2.minor has names of that version under those conditions.
func exported(version string, conditions []string, minor int, arch string) bool {
	own := "2." + strconv.Itoa(minor)
	if version != "PRIVATE" && compareVersions(version, own) > 0 {
		return false
	}
	for pair := range slices.Chunk(conditions, 2) {
		if pair[0] == "since" && compareVersions(own, pair[1]) < 0 ||
			pair[0] == "on" && arch != pair[1] {
			return false
		}
	}
	return true
}

// compareVersions compares dotted numbers; "PRIVATE" comes after all of them.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if d := versionPart(x) - versionPart(y); d != 0 {
			return d
		}
	}
	return 0
}

func versionPart(s string) int {
	switch n, err := strconv.Atoi(s); {
	case s == "":
		return -1
	case err != nil:
		return 1 << 30
	default:
		return n
	}
}
