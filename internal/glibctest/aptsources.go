package glibctest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// aptSources converts the machine's package sources below etc (/etc/apt) to sources of source
// packages: file names and their contents, in both of apt's formats. Servers of binary packages
// usually also have the sources.
func aptSources(etc string) (map[string]string, error) {
	names, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, name := range append(names, filepath.Join(etc, "sources.list")) {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var source string
		switch filepath.Ext(name) {
		case ".list":
			source = fromLines(string(text))
		case ".sources":
			source = fromStanzas(string(text))
		}
		if source != "" {
			found[filepath.Base(name)] = source
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no package sources in %s: glibc is built from Debian's source "+
			"package", etc)
	}
	return found, nil
}

// debLine matches a line of the one-line format for binary packages: type, options and the rest.
var debLine = regexp.MustCompile(`^\s*deb\s+(.*)$`)

// fromLines converts a file in the one-line format; it returns "" if it names no binary packages.
func fromLines(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if m := debLine.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
			// Options such as [arch=amd64] are harmless: source packages have no architecture.
			fmt.Fprintf(&out, "deb-src %s\n", m[1])
		}
	}
	return out.String()
}

// typesField matches the field of a stanza that distinguishes binary from source packages.
var typesField = regexp.MustCompile(`(?i)^types:(.*)$`)

// fromStanzas converts a file in the deb822 format, in which a stanza may be for both kinds.
func fromStanzas(text string) string {
	var out strings.Builder
	found := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := typesField.FindStringSubmatch(line); m != nil {
			line, found = "Types: deb-src", true
		}
		out.WriteString(line + "\n")
	}
	if !found {
		return ""
	}
	return out.String()
}
