package tracer

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCall(t *testing.T) {
	for _, target := range []string{"spin", "pause", "handler", "catch", "tiles", "nokeys"} {
		c := startChecker(t, 2, target)
		g := gadgets(t, c.pid)
		for range 12 {
			tr := attach(t, c.pid, Options{Gadgets: g})
			for _, th := range tr.Threads() {
				for range 2 {
					if v, err := tr.Call(t.Context(), th, c.sum, 1, 2, 3, 4, 5, 6); v != 91 ||
						err != nil {
						t.Fatalf("sum: %d, %v", v, err)
					}
				}
			}
			detach(t, tr)
		}
		c.goesOn()
	}
}

func TestCallTrapTarget(t *testing.T) {
	c := startChecker(t, 1)
	tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
	fn, err := TrapTarget(tr.Memory(), c.trapped)
	if err != nil || fn != c.sum {
		t.Fatalf("%#x, %v, want %#x", fn, err, c.sum)
	}
	if _, err := TrapTarget(tr.Memory(), c.sum); !errors.Is(err, ErrGadget) {
		t.Errorf("an ordinary function: %v", err)
	}
}

func TestCallFault(t *testing.T) {
	c := startChecker(t, 1)
	tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
	_, err := tr.Call(t.Context(), tr.Threads()[0], c.fault, 0)
	var e *Error
	if !errors.Is(err, ErrFault) || !errors.As(err, &e) || e.Signal != int(unix.SIGSEGV) {
		t.Fatal(err)
	}
	detach(t, tr)
	c.goesOn()
}

// TestCallTooLong lets the context end while a function runs: the function is not broken off.
func TestCallTooLong(t *testing.T) {
	t.Parallel() // it mostly waits
	c := startChecker(t, 2)
	tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := tr.Call(ctx, tr.Threads()[0], c.stall, 300); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Fatal(err)
	}
	detach(t, tr)
	c.goesOn()
}
