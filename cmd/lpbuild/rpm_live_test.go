package main

import (
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// live is a running program that is to be patched.
type live struct {
	*targettest.Process
	t testing.TB
}

// start starts a program of the directory with the live programs in a root directory, "" for the
// machine's own.
func start(t testing.TB, root, dir, program string) *live {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, program))
	cmd.Env = []string{"LD_LIBRARY_PATH=" + dir, "LD_PRELOAD=" + dir + "/libpulp.so"}
	return begin(t, root, cmd)
}

// begin starts a program in a root directory, and waits until it is ready.
func begin(t testing.TB, root string, cmd *exec.Cmd) *live {
	t.Helper()
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
	l := &live{targettest.Start(t, cmd), t}
	l.Line()
	return l
}

func (s *scratch) start(program string) *live { return start(s.t, s.root, liveDir, program) }

// What the program says without a live patch, and with those of the two versions.
const (
	without  = "1 2 3 107"
	version1 = "10 20 3 107"
	version2 = "20 40 3 107"
)

// says fails the test if the program does not answer so.
func (l *live) says(want string) {
	l.t.Helper()
	l.Answers("", want)
}

// await waits until a condition holds.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
