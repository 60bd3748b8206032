package hook

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// sysconfigFile is where the administrator says what he wants. Shells source it elsewhere; here it is only read.
const sysconfigFile = "etc/sysconfig/livepatching"

// maxSysconfig bounds the file, in bytes.
const maxSysconfig = 256 << 10

// Setting says whether live patches of a package are applied.
type Setting string

// The settings.
const (
	Auto   Setting = "auto"   // to the processes of this system; in a transactional update to those of the running one
	Always Setting = "always" // as Auto, and in any chroot as in a transactional update
	Never  Setting = "never"  // not at all
)

// config is what the file says.
type config map[string]string

// parseSysconfig reads lines of the form NAME=VALUE. A value may be in quotes; nothing in it is expanded. Everything else is a
// comment or is left out: it is no reason to leave a hole in a process open.
func parseSysconfig(data []byte) config {
	c := config{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, maxSysconfig)
	for lines.Scan() {
		line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export ")
		name, value, ok := strings.Cut(line, "=")
		if !ok || !isVariable(name) {
			continue
		}
		if value, ok := word(value); ok {
			c[name] = value
		}
	}
	return c
}

// isVariable says whether a shell takes a word for a variable's name.
func isVariable(s string) bool {
	other := func(r rune) bool {
		return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}
	return s != "" && (s[0] < '0' || s[0] > '9') && !strings.ContainsFunc(s, other)
}

// word reads a value: one word, in quotes or not, and perhaps a comment behind it.
func word(s string) (string, bool) {
	rest := ""
	switch {
	case s != "" && (s[0] == '"' || s[0] == '\''):
		end := strings.IndexByte(s[1:], s[0])
		if end < 0 {
			return "", false
		}
		s, rest = s[1:1+end], s[2+end:]
	default:
		if i := strings.IndexAny(s, " \t"); i >= 0 {
			s, rest = s[:i], s[i:]
		}
	}
	if rest = strings.TrimSpace(rest); rest != "" && rest[0] != '#' {
		return "", false
	}
	return s, true
}

// readSysconfig reads the file; without one everything is as usual. The error is why it does not count.
func readSysconfig(name string) (config, error) {
	data, err := regularfile.Read(name, maxSysconfig)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return config{}, nil
	case errors.Is(err, regularfile.ErrIrregular), errors.Is(err, regularfile.ErrTooLarge):
		return config{}, fmt.Errorf("%s is no file of a plausible size: it is not used", name)
	case err != nil:
		return config{}, err
	}
	return parseSysconfig(data), nil
}

// variables returns the names under which a package has a setting, the first one that is there counts: glibc-livepatches has
// LIVEPATCH_GLIBC_LIVEPATCHES and LIVEPATCH_GLIBC, and every package LIVEPATCH_USERSPACE.
func variables(pkg string) []string {
	upper := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, pkg)
	names := []string{"LIVEPATCH_" + upper}
	for _, suffix := range []string{"_LIVEPATCHES", "_LIVEPATCH"} {
		if short, ok := strings.CutSuffix(upper, suffix); ok && short != "" {
			names = append(names, "LIVEPATCH_"+short)
		}
	}
	return append(names, "LIVEPATCH_USERSPACE")
}

// setting returns the setting for a package, and what is wrong with it: then it is as if it was not there.
func (c config) setting(pkg string) (Setting, error) {
	s, _, err := c.settingBy(pkg)
	return s, err
}

// settingBy is setting, with the variable that says it; "" if none does.
func (c config) settingBy(pkg string) (s Setting, variable string, err error) {
	for _, name := range variables(pkg) {
		switch value, ok := c[name]; {
		case !ok || value == "":
		case Setting(value) == Auto, Setting(value) == Always, Setting(value) == Never:
			return Setting(value), name, nil
		default:
			return Auto, name, fmt.Errorf("%s=%.40q in /%s: must be auto, always or never: auto is assumed", name, value, sysconfigFile)
		}
	}
	return Auto, "", nil
}

// mistakes returns what is wrong with the other settings, each of which is then as if it was not there.
// An administrator who wrote "LIVEPATCH_SECCOMP=yes" would otherwise never know that nothing came of it.
func (c config) mistakes() (list []string) {
	for _, v := range []struct {
		name, must string
		ok         func(value string) bool
	}{
		{"LIVEPATCH_DEADLINE", "must be a time from 1s to 10m", between(leastDeadline, mostDeadline)},
		{"LIVEPATCH_ENGINE", "must be auto, pulp or native", oneOf("auto", "pulp", "native")},
		{"LIVEPATCH_CONSISTENCY", "must be none or functions", oneOf("none", "functions")},
		{"LIVEPATCH_SECCOMP", "must be obey or suspend", oneOf("obey", "suspend")},
		{"LIVEPATCH_MAX_STOP", "must be a time from 1ms to 1m", between(leastMaxStop, mostMaxStop)},
		{"LIVEPATCH_REVERT_ON_REMOVE", "must be yes or no", oneOf("yes", "no")},
	} {
		if value := c[v.name]; value != "" && !v.ok(value) {
			list = append(list, fmt.Sprintf("%s=%.40q in /%s: %s: it is not used", v.name, value, sysconfigFile, v.must))
		}
	}
	return list
}

func oneOf(words ...string) func(string) bool {
	return func(value string) bool { return slices.Contains(words, value) }
}

func between(least, most time.Duration) func(string) bool {
	return func(value string) bool {
		d, err := time.ParseDuration(value)
		return err == nil && d >= least && d <= most
	}
}

// revertOnRemove says whether live patches are taken out when their package is erased: LIVEPATCH_REVERT_ON_REMOVE.
func (c config) revertOnRemove() bool { return c["LIVEPATCH_REVERT_ON_REMOVE"] == "yes" }

// The bounds of LIVEPATCH_DEADLINE.
const (
	leastDeadline = time.Second
	mostDeadline  = 10 * time.Minute
)

// ConfiguredDeadline returns the time that the administrator gives to scriptlets, LIVEPATCH_DEADLINE=45s in the file below root, or
// the default.
func ConfiguredDeadline(root string) time.Duration {
	c, err := readSysconfig(filepath.Join(root, sysconfigFile))
	if err != nil {
		return DefaultDeadline
	}
	d, err := time.ParseDuration(c["LIVEPATCH_DEADLINE"])
	if err != nil || d < leastDeadline || d > mostDeadline {
		return DefaultDeadline
	}
	return d
}

// The bounds of LIVEPATCH_MAX_STOP. Whoever wants no limit gives the longest.
const (
	leastMaxStop = time.Millisecond
	mostMaxStop  = time.Minute
)

// ConfiguredMaxStop returns how long a process may stand still, LIVEPATCH_MAX_STOP=200ms in the file below root, or the default.
func ConfiguredMaxStop(root string) time.Duration {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run says what is wrong with it
	d, err := time.ParseDuration(c["LIVEPATCH_MAX_STOP"])
	if err != nil || d < leastMaxStop || d > mostMaxStop {
		return engine.DefaultMaxStop
	}
	return d
}

// ConfiguredEngine returns the engine that the administrator wants, LIVEPATCH_ENGINE=native in the file below root: "auto",
// "pulp" or "native". Anything else is "auto".
func ConfiguredEngine(root string) string {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run says what is wrong with it
	switch engine := c["LIVEPATCH_ENGINE"]; engine {
	case "pulp", "native":
		return engine
	}
	return "auto"
}

// ConfiguredConsistency returns where threads may be while functions are switched, LIVEPATCH_CONSISTENCY=functions in the file
// below root: "none" (anywhere) or "functions" (outside of those). Anything else is "none".
func ConfiguredConsistency(root string) string {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run says what is wrong with it
	if c["LIVEPATCH_CONSISTENCY"] == "functions" {
		return "functions"
	}
	return "none"
}

// ConfiguredSeccomp returns what becomes of processes whose filter of system calls is in the way, LIVEPATCH_SECCOMP=suspend in the
// file below root: "obey" (they are left) or "suspend". Anything else is "obey".
func ConfiguredSeccomp(root string) string {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run says what is wrong with it
	if c["LIVEPATCH_SECCOMP"] == "suspend" {
		return "suspend"
	}
	return "obey"
}
