package targettest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Dumper returns the command of a program that dumps core in a directory of the test's, and skips
// the test where core dumps go elsewhere.
func Dumper(t testing.TB, path string) *exec.Cmd {
	t.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || strings.ContainsAny(string(pattern), "|/@") {
		t.Skipf("core dumps go elsewhere: %s", pattern)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil ||
		limit.Max != ^uint64(0) {
		t.Skipf("core dumps are limited to %d bytes", limit.Max)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Dir = t.TempDir()
	return cmd
}

// Dumping waits until a process dumps core.
func Dumping(t testing.TB, pid int) {
	t.Helper()
	Await(t, "a process to dump core", func() bool { return IsDumping(pid) })
}

// IsDumping reports whether a process dumps core at the moment.
func IsDumping(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && bytes.Contains(b, []byte("CoreDumping:\t1"))
}
