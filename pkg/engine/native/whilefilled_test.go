package native

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestRunsWhileFilled: a process whose threads run goes on while much is written into its memory,
// and is looked at and switched in a second stop; one that sleeps is stopped once, and so is one
// that runs where little is to be written.
func TestRunsWhileFilled(t *testing.T) {
	lib := library(t, nopFlags)
	small := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	large := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, fmt.Sprintf(
		"const char much[%d] = {[0 ... %[1]d - 1] = 1};", largeFrom*pageSize), "2"))
	for _, tc := range []struct {
		p       *Patch
		threads int
		runs    bool
	}{{small, 0, false}, {small, 1, false}, {large, 0, false}, {large, 1, true}} {
		p, threads, runs := tc.p, tc.threads, tc.runs
		c := start(t, target(t, lib), threads, "SPIN=1")
		var steps []string
		if threads == 0 {
			sleeps(t, c.pid)
		}
		c.apply(Options{step: func(name string) { steps = append(steps, name) }}, p)
		if got := c.Ask("all"); got[0] != '2' {
			t.Error(got)
		}
		at := slices.Index(steps, "whilerunning")
		if at >= 0 != runs {
			t.Fatalf("%d threads: steps %q", threads, steps)
		}
		back := slices.Clone(steps)
		slices.Reverse(back)
		fill, look := slices.Index(steps, "fill"), len(steps)-1-slices.Index(back, "look")
		if runs && (fill < at || look < fill) {
			t.Errorf("steps %q", steps)
		}
		steps = nil
		if threads == 0 {
			sleeps(t, c.pid)
		}
		c.change(Change{Revert: everyOne},
			Options{step: func(name string) { steps = append(steps, name) }})
		if at = slices.Index(steps, "whilerunning"); at >= 0 != (threads > 0) ||
			slices.Index(steps, "unmap") < at {
			t.Errorf("%d threads: steps of the revert %q", threads, steps)
		}
	}
}

// sleeps waits until the process waits for a command.
func sleeps(t *testing.T, pid int) {
	t.Helper()
	for t.Context().Err() == nil {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, state, _ := bytes.Cut(stat, []byte(") ")); bytes.HasPrefix(state, []byte("S")) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// TestVforkWhileFilled: a thread makes a child by vfork meanwhile, so that the process cannot be
// stopped again before that goes on. Nothing is applied then; what is reverted is. A thread that
// stands gives the memory back, or else the next change.
func TestVforkWhileFilled(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 1, "SPIN=1")
	before := c.snapshot()
	for _, change := range []Change{{Apply: []*Patch{p}}, {Revert: everyOne}} {
		if change.Apply == nil {
			c.apply(Options{}, p)
		}
		child, meanwhile := 0, false
		pl, err := newPlan(t.Context(), look(t, c.pid), change, Options{StopTimeout: time.Second,
			twoStops: true, step: func(name string) {
				if meanwhile = meanwhile || name == "whilerunning"; meanwhile && child == 0 &&
					name == "attach:interrupt" {
					child, _ = strconv.Atoi(c.Ask("vfork"))
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := pl.Run(t.Context())
		if applied := change.Apply != nil; applied != errors.Is(err, tracer.ErrNotStopping) ||
			!applied && (err != nil || res.Reverted != 1) {
			t.Error(res, err)
		}
		if child <= 0 { // which would be others to kill(2)
			t.Fatal("no child")
		}
		_ = unix.Kill(child, unix.SIGKILL)
		if got := c.Line(); got != "back" {
			t.Error(got)
		}
		c.says("all", original)
		c.cleared(before) // by the next change, if on a busy machine no thread stood in time
	}
}

// disturbed applies a live patch to a process that is asked for something at a step, meanwhile.
func disturbed(t *testing.T, c *child, p *Patch, at string, what func(pl *Plan) string) error {
	t.Helper()
	var pl *Plan
	meanwhile, asked := false, false
	o := Options{twoStops: true, step: func(name string) {
		meanwhile = meanwhile || name == "whilerunning"
		if meanwhile && !asked && name == at {
			asked = true
			c.Ask(what(pl))
		}
	}}
	pl, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = pl.Run(t.Context())
	if !asked {
		t.Error("it does not run meanwhile")
	}
	return err
}

// TestMappedOver: what the process maps over our memory meanwhile is its own, and stays so.
func TestMappedOver(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 1, "SPIN=1")
	var base uint64
	err := disturbed(t, c, p, "attach:interrupt", func(pl *Plan) string {
		base = pl.regions[0].base
		return "over " + itoa(int(base))
	})
	if !errors.Is(err, ErrStale) {
		t.Error(err)
	}
	c.says("all", original)
	c.apply(Options{}, p) // elsewhere
	c.says("all", patched)
	c.says("unmap "+itoa(int(base)), "0")
	c.says("all", patched)
}

// TestUnmappedWhileFilled: if our memory cannot be filled, the process is as it was.
func TestUnmappedWhileFilled(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 1, "SPIN=1")
	before := c.snapshot()
	if err := disturbed(t, c, p, "fill", func(pl *Plan) string {
		return "unmap " + itoa(int(pl.regions[0].base+pageSize))
	}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Error(d)
	}
	c.says("all", original)
}
