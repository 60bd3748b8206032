package targettest

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Engine is this test binary as a process of its own, which may be killed: a job is what it finds
// in a variable of its environment, where TestMain looks for it.
func Engine(t testing.TB, variable, job string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", variable+"="+job)
	return cmd
}

// KillSelf is how an engine ends that is told to do so before one of its steps: at once, as if by
// somebody else.
func KillSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it comes
}

// Killed reports whether the error of a command that was run means that SIGKILL ended it.
func Killed(err error) bool {
	ee, ok := errors.AsType[*exec.ExitError](err)
	return ok && ee.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// Interrupt starts an engine that says a line when it begins, or nothing if it cannot, lets it work
// for a random time up to limit, sends it the signal and returns what else it printed and how it
// ended.
func Interrupt(t testing.TB, cmd *exec.Cmd, limit time.Duration,
	signal os.Signal) (said string, err error) {
	t.Helper()
	p := Start(t, cmd)
	_, _ = p.Out.ReadString('\n')
	time.Sleep(rand.N(limit))
	_ = cmd.Process.Signal(signal)
	rest, _ := io.ReadAll(p.Out)
	return string(rest), cmd.Wait()
}

// KillSomewhere kills an engine at an instant up to limit after it began, and fails the test if it
// said why it ended: that is an error.
func KillSomewhere(t testing.TB, cmd *exec.Cmd, limit time.Duration) {
	t.Helper()
	if said, _ := Interrupt(t, cmd, limit, os.Kill); said != "" {
		t.Errorf("the engine said %s", said)
	}
}
