package trigger_test

import "path"

// jobs are what the test binary does instead of testing, in a process of its own.
var jobs = map[string]func() int{}

func baseName(p string) string { return path.Base(p) }
