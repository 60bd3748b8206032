package tracer

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestDumping: a process that dumps core is gone, as far as that matters, and nothing interrupts
// it.
func TestDumping(t *testing.T) {
	c := targettest.Start(t, targettest.Dumper(t, program(t, "dumps")))
	c.Line()
	fmt.Fprintln(c.In)
	targettest.Dumping(t, c.PID)
	var steps []string
	_, err := Run(t.Context(), c.PID, Options{step: func(name string) {
		steps = append(steps, name)
	}}, func(*Tracee) error { return nil })
	if !errors.Is(err, ErrGone) || slices.Contains(steps, "attach:interrupt") {
		t.Errorf("%v after %q", err, steps)
	}
	targettest.Dumping(t, c.PID) // still
}

// TestDumpsMeanwhile: a thread that has a signal when it is being stopped gets it, and dumps core.
// It does not stop any more.
func TestDumpsMeanwhile(t *testing.T) {
	c := targettest.Start(t, targettest.Dumper(t, program(t, "dumps")))
	c.Line()
	seizes := 0
	_, err := Run(t.Context(), c.PID, Options{step: func(name string) {
		if name != "attach:seize" {
			return
		}
		if seizes++; seizes == 2 { // the first thread is traced by now
			_ = unix.Tgkill(c.PID, c.PID, unix.SIGSEGV)
			targettest.Await(t, "the signal to come", func() bool {
				state, _ := stat(t, c.PID, c.PID)
				return state == "t"
			})
		}
	}}, func(*Tracee) error { return nil })
	if !errors.Is(err, ErrGone) || seizes < 2 {
		t.Errorf("%v after %d threads", err, seizes)
	}
	targettest.Dumping(t, c.PID)
}
