package native

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// stormy is how often a storm of the target has gone round.
func (c *child) stormy() uint64 { return binary.NativeEndian.Uint64(c.page[16+8*499:]) }

// blows waits until a storm has gone round some more times.
func (c *child) blows(times uint64) {
	c.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for want := c.stormy() + times; c.stormy() < want; time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("the storm has died\n%s", c.threads())
		}
	}
}

// TestStorm applies and reverts while the process forks (children call the functions, and must see
// both of one version), spawns programs (vfork), starts and ends threads, or is in signal handlers
// on a stack of their own.
func TestStorm(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c")
	for _, name := range []string{"forks", "spawns", "threads", "signals"} {
		t.Run(name, func(t *testing.T) {
			c := start(t, target(t, lib), 1)
			c.says("storm "+name, "0")
			c.blows(1)
			// a process cannot be stopped during a vfork
			patient := Options{StopTimeout: 10 * time.Second}
			for range 30 {
				c.apply(patient, p)
				c.expect(2)
				c.blows(2)
				c.expect(0)
				c.change(Change{Revert: everyOne}, patient)
				c.expect(1)
				c.blows(2)
				c.expect(0)
			}
			c.right()
			c.says("all", original)
		})
	}
}

// TestExecStorm does so while the process starts its program anew all the time: each attempt finds
// a program and patches all of it, or says that it has changed.
func TestExecStorm(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0, "EXEC=1")
	c.blows(2)
	done, changed := 0, 0
	for deadline := time.Now().Add(20 * time.Second); (done < 10 || changed < 10) &&
		time.Now().Before(deadline); {
		proc, err := process.Look(t.Context(), c.pid, process.Options{})
		if err == nil {
			var pl *Plan
			if pl, err = newPlan(t.Context(), proc, Change{Apply: []*Patch{p}},
				Options{StopTimeout: 10 * time.Second}); err == nil {
				_, err = pl.Run(t.Context())
			}
		}
		switch {
		case err == nil:
			done++
		case errors.Is(err, process.ErrChanged), errors.Is(err, tracer.ErrExec),
			errors.Is(err, ErrStale), errors.Is(err, ErrNoLibrary),
			errors.Is(err, ErrApplied), errors.Is(err, ErrAgain):
			changed++
		default:
			t.Fatal(err)
		}
	}
	t.Logf("%d applied, %d times changed meanwhile, %d programs", done, changed, c.stormy())
	if done == 0 || changed == 0 {
		t.Errorf("%d applied, %d times changed meanwhile", done, changed)
	}
	c.blows(2) // it lives
	c.right()
}

// ends waits for the end of a process.
func ends(t *testing.T, p *process.Process) bool {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().
		Before(deadline); time.Sleep(time.Millisecond) {
		if p.Verify(t.Context()) != nil {
			return true
		}
	}
	return false
}

// TestEnds applies to processes that end at some moment: all goes well, or the process is gone.
func TestEnds(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	done, gone := 0, 0
	for deadline := time.Now().Add(20 * time.Second); (done < 3 || gone < 10) &&
		time.Now().Before(deadline); {
		c := start(t, target(t, lib), 2)
		proc := look(t, c.pid)
		c.says(fmt.Sprint("life ", 1+rand.N(6000)), "ok")
		_, err := do(t.Context(), proc, Change{Apply: []*Patch{p}}, Options{})
		switch {
		case err == nil:
			done++
		case errors.Is(err, process.ErrGone), errors.Is(err, tracer.ErrGone),
			errors.Is(err, process.ErrNoMemory),
			errors.Is(err, process.ErrChanged) && ends(t, proc): // its memory goes before itself
			gone++
		default:
			t.Fatal(err)
		}
	}
	t.Logf("%d were patched, %d had ended before", done, gone)
	if gone == 0 {
		t.Error("none ended meanwhile")
	}
}

// TestOrphan: what a child inherited is listed and reverted after its parent is gone.
func TestOrphan(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	c.apply(Options{}, p)
	parent := look(t, c.pid)
	if _, err := fmt.Sscan(c.Ask("orphan"), &c.pid); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(c.pid, unix.SIGKILL) })
	for parent.Verify(context.Background()) == nil {
		time.Sleep(time.Millisecond)
	}
	if got := c.active(); got != "1:8" {
		t.Errorf("in the child: %s", got)
	}
	c.says("all", patched)
	if _, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
		Options{}); !errors.Is(err, ErrApplied) {
		t.Errorf("applied to the child: %v", err)
	}
	c.revert()
	c.says("all", original)
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("the child is not as the parent was: %s", d)
	}
}

// TestHandler applies while a thread is in a signal handler on a stack of its own, which has
// interrupted a function that is replaced, and is in one itself: both end as they began.
func TestHandler(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.says("signal", "ok")
	err := doBusy(t, c.pid, Change{Apply: []*Patch{p}}, Options{Consistency: ConsistencyFunctions})
	if !errors.Is(err, ErrAgain) {
		t.Errorf("with a thread in the function: %v", err)
	}
	c.apply(Options{}, p)
	c.says("all", patched)
	c.says("release", "6") // of the original
	c.says("signal", "ok")
	c.says("release", "15")
	c.revert()
	c.says("all", original)
}
