package native

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestSubmittedThread stops the process when its thread is about to give memory back on its way
// back. Nothing may be mapped there before it has done so: it would take that away.
func TestSubmittedThread(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, spinner(t, lib), 1)
	before := c.snapshot()
	c.apply(Options{}, p)
	sent := false
	c.change(Change{Revert: everyOne}, Options{step: func(name string) {
		if name == "unmap" {
			sent = true
			_ = unix.Kill(c.pid, unix.SIGSTOP)
		}
	}})
	if !sent || c.snapshot() == before {
		t.Fatal("the memory is given back already")
	}
	pl, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pl.Run(t.Context()); !errors.Is(err, ErrAgain) {
		t.Errorf("while a thread is on its way: %v", err)
	}
	_ = unix.Kill(c.pid, unix.SIGCONT)
	c.apply(Options{}, p)
	c.revert()
	for deadline := time.Now().Add(20 * time.Second); c.snapshot() != before; c.change(Change{},
		Options{}) {
		if time.Now().After(deadline) {
			t.Fatalf("not as before: %s", cmp.Diff(before, c.snapshot()))
		}
	}
	c.right()
}

// TestSubmitsWhereFree: a thread gives memory back while it is let go where it has a CPU for that.
// Where it would have to wait for one, or another thread could get where its sigframe lies, the
// process is stopped until it has done so.
func TestSubmitsWhereFree(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for threads, sends := range map[int]bool{0: true, 1: false,
		2 * max(2, runtime.NumCPU()): false} {
		var c *child
		if threads == 0 { // but the first one
			c = start(t, spinner(t, lib), 1)
		} else {
			c = start(t, target(t, lib), threads, "SPIN=1")
		}
		sent := 0
		for range 10 {
			// the machine may be busy, and a thread that does not come in time is sent again
			waited := false
			c.apply(Options{}, p)
			c.change(Change{Revert: everyOne},
				Options{step: func(name string) { waited = waited || name == "call:signal" }})
			if !waited {
				sent++
			}
		}
		if sends != (sent > 0) {
			t.Errorf("%d threads besides the first one: sent %d times of 10, want any: %v", threads,
				sent, sends)
		}
	}
}
