package engine_test

import (
	"path"
	"strings"
)

// jobs are what the test binary does instead of testing, in a process of its own.
var jobs = map[string]func() int{}

func baseName(p string) string { return path.Base(p) }

// peak returns VmHWM of a status file, in KiB.
func peak(status string) string {
	_, after, _ := strings.Cut(status, "VmHWM:")
	return strings.Fields(after)[0]
}
