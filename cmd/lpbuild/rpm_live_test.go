package main

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// live is a running program that is to be patched.
type live struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a program of the folder with the live programs in a root folder, "" for the machine's own.
func start(t testing.TB, root, dir, program string) *live {
	t.Helper()
	cmd := exec.Command(filepath.Join(dir, program))
	cmd.Env = []string{"LD_LIBRARY_PATH=" + dir, "LD_PRELOAD=" + dir + "/libpulp.so"}
	return begin(t, root, cmd)
}

// begin starts a program in a root folder, and waits until it is ready.
func begin(t testing.TB, root string, cmd *exec.Cmd) *live {
	t.Helper()
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: root}
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	l := &live{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(l.kill)
	_, err = l.out.ReadString('\n')
	check(t, err)
	return l
}

func (s *scratch) start(program string) *live { return start(s.t, s.root, liveDir, program) }

func (l *live) kill() {
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait()
}

// What the program says without a live patch, and with those of the two versions.
const (
	without  = "1 2 3 107"
	version1 = "10 20 3 107"
	version2 = "20 40 3 107"
)

// says fails the test if the program does not answer so.
func (l *live) says(want string) {
	l.t.Helper()
	_, err := io.WriteString(l.in, "\n")
	check(l.t, err)
	got, err := l.out.ReadString('\n')
	if check(l.t, err); strings.TrimSpace(got) != want {
		l.t.Errorf("the program says %q, want %q", strings.TrimSpace(got), want)
	}
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
