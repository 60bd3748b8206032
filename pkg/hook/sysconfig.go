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

// sysconfigFile has the administrator's settings. Shells source such files elsewhere; here it is
// only read.
const sysconfigFile = "etc/sysconfig/livepatching"

// maxSysconfig bounds the file, in bytes.
const maxSysconfig = 256 << 10

// setting tells whether live patches of a package are applied.
type setting string

// The settings.
const (
	// to the processes of this system; in a transactional update, to those of the running one
	settingAuto setting = "auto"
	// like settingAuto, and in any chroot as in a transactional update
	settingAlways setting = "always"
	settingNever  setting = "never" // not at all
)

// config holds the variables of the file.
type config map[string]string

// parseSysconfig reads lines of the form NAME=VALUE. A value may be in quotes; nothing in it is
// expanded. All other lines are comments or ignored, since a typing error is no reason to leave
// processes vulnerable.
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

// isVariable reports whether a shell accepts a word as the name of a variable.
func isVariable(s string) bool {
	other := func(r rune) bool {
		return r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}
	return s != "" && (s[0] < '0' || s[0] > '9') && !strings.ContainsFunc(s, other)
}

// word reads a value: one word, in quotes or not, and perhaps a comment after it.
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

// readSysconfig reads the file; if there is none, the defaults apply. The error says why the file
// is ignored.
func readSysconfig(name string) (config, error) {
	data, err := regularfile.Read(name, maxSysconfig)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return config{}, nil
	case errors.Is(err, regularfile.ErrIrregular), errors.Is(err, regularfile.ErrTooLarge):
		return config{}, fmt.Errorf("%s is not a file of a plausible size: it is not used", name)
	case err != nil:
		return config{}, err
	}
	return parseSysconfig(data), nil
}

// variables returns the variables for a package's setting, of which the first one that is set
// counts: glibc-livepatches has LIVEPATCH_GLIBC_LIVEPATCHES and LIVEPATCH_GLIBC, and every package
// LIVEPATCH_USERSPACE.
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

// setting returns the setting for a package, and a message if it is invalid, in which case it is
// ignored.
func (c config) setting(pkg string) (setting, error) {
	s, _, err := c.settingBy(pkg)
	return s, err
}

// settingBy is setting, with the variable that determines it, or "".
func (c config) settingBy(pkg string) (s setting, variable string, err error) {
	for _, name := range variables(pkg) {
		switch value, ok := c[name]; {
		case !ok || value == "":
		case setting(value) == settingAuto, setting(value) == settingAlways,
			setting(value) == settingNever:
			return setting(value), name, nil
		default:
			return settingAuto, name, fmt.Errorf("%s=%.40q in /%s: must be auto, always or "+
				"never; using auto", name, value, sysconfigFile)
		}
	}
	return settingAuto, "", nil
}

// mistakes returns messages about the other invalid settings, which are ignored. An administrator
// who wrote "LIVEPATCH_SECCOMP=yes" would otherwise never know that it has no effect.
func (c config) mistakes() (list []string) {
	for _, v := range []struct {
		name, must string
		ok         func(value string) bool
	}{
		{"LIVEPATCH_DEADLINE", "must be a time from 1s to 10m",
			between(leastDeadline, mostDeadline)},
		{"LIVEPATCH_ENGINE", "must be auto, pulp or native", oneOf("auto", "pulp", "native")},
		{"LIVEPATCH_CONSISTENCY", "must be none or functions", oneOf("none", "functions")},
		{"LIVEPATCH_SECCOMP", "must be obey or suspend", oneOf("obey", "suspend")},
		{"LIVEPATCH_MAX_STOP", "must be a time from 1ms to 1m", between(leastMaxStop, mostMaxStop)},
		{"LIVEPATCH_REVERT_ON_REMOVE", "must be yes or no", oneOf("yes", "no")},
	} {
		if value := c[v.name]; value != "" && !v.ok(value) {
			list = append(list, fmt.Sprintf("%s=%.40q in /%s: %s: it is not used", v.name, value,
				sysconfigFile, v.must))
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

// revertOnRemove reports whether live patches are reverted when their package is erased:
// LIVEPATCH_REVERT_ON_REMOVE.
func (c config) revertOnRemove() bool { return c["LIVEPATCH_REVERT_ON_REMOVE"] == "yes" }

// The bounds of LIVEPATCH_DEADLINE.
const (
	leastDeadline = time.Second
	mostDeadline  = 10 * time.Minute
)

// ConfiguredDeadline returns the administrator's time limit for scriptlets, LIVEPATCH_DEADLINE=45s
// in the file below root, or the default.
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

// The bounds of LIVEPATCH_MAX_STOP. The largest value serves as no limit.
const (
	leastMaxStop = time.Millisecond
	mostMaxStop  = time.Minute
)

// ConfiguredMaxStop returns how long a process may be stopped, LIVEPATCH_MAX_STOP=200ms in the file
// below root, or the default.
func ConfiguredMaxStop(root string) time.Duration {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run reports errors in it
	d, err := time.ParseDuration(c["LIVEPATCH_MAX_STOP"])
	if err != nil || d < leastMaxStop || d > mostMaxStop {
		return engine.DefaultMaxStop
	}
	return d
}

// ConfiguredEngine returns the administrator's choice of engine, LIVEPATCH_ENGINE=native in the
// file below root: "auto", "pulp" or "native". Any other value is "auto".
func ConfiguredEngine(root string) string {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run reports errors in it
	switch engine := c["LIVEPATCH_ENGINE"]; engine {
	case "pulp", "native":
		return engine
	}
	return "auto"
}

// ConfiguredConsistency returns where threads may be while functions are switched,
// LIVEPATCH_CONSISTENCY=functions in the file below root: "none" (anywhere) or "functions" (outside
// of those). Any other value is "none".
func ConfiguredConsistency(root string) string {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run reports errors in it
	if c["LIVEPATCH_CONSISTENCY"] == "functions" {
		return "functions"
	}
	return "none"
}

// ConfiguredSeccomp returns how to treat processes whose system call filter is in the way,
// LIVEPATCH_SECCOMP=suspend in the file below root: "obey" (leave them alone) or "suspend". Any
// other value is "obey".
func ConfiguredSeccomp(root string) string {
	c, _ := readSysconfig(filepath.Join(root, sysconfigFile)) // Run reports errors in it
	if c["LIVEPATCH_SECCOMP"] == "suspend" {
		return "suspend"
	}
	return "obey"
}
