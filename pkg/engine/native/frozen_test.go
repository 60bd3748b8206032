package native

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestFrozen: a process that the freezer of a control group keeps from running is given up in time,
// and left as it was.
func TestFrozen(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for _, f := range targettest.Freezers(t) {
		for _, threads := range []int{0, 1, 2} {
			c := start(t, target(t, lib), threads)
			f.Add(c.pid)
			before := c.snapshot()
			for _, oneByOne := range []bool{false, true} {
				why := ErrNotRunning
				if f.Name == "freezer.state" { // it does not stop
					why = tracer.ErrNotStopping
				}
				f.Freeze()
				f.Frozen()
				c.refused(Change{Apply: []*Patch{p}}, Options{StopTimeout: 100 * time.Millisecond,
					oneByOne: oneByOne}, why)
				f.Thaw()
				c.says("all", original)
				c.right()
				if d := cmp.Diff(before, c.snapshot()); d != "" {
					t.Errorf("it went on with what it was to do: %s", d)
				}
			}
			c.apply(Options{}, p)
			c.says("all", patched)
		}
	}
}

// TestFrozenDuringChange freezes a process at some steps of a change: that ends in time all the
// same, and nothing is half done.
func TestFrozenDuringChange(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for _, f := range targettest.Freezers(t) {
		for _, oneByOne := range []bool{false, true} {
			t.Run(fmt.Sprint(f.Name, oneByOne), func(t *testing.T) {
				c := start(t, target(t, lib), 1)
				f.Add(c.pid)
				before := c.snapshot()
				steps := c.frozenAt(f, p, -1, oneByOne)
				c.says("all", patched)
				c.cleared(before)
				for at := 0; at < steps; at += 1 + rand.N(4) {
					c.frozenAt(f, p, at, oneByOne)
					c.whole(fmt.Sprintf("frozen at step %d", at))
					c.cleared(before)
				}
			})
		}
	}
}

// frozenAt applies a live patch, freezes the process at a step of that, and returns how many steps
// it had.
func (c *child) frozenAt(f *targettest.Freezer, p *Patch, at int, oneByOne bool) (n int) {
	c.t.Helper()
	limit := 20 * time.Millisecond
	if at < 0 { // it is not frozen at all
		limit = 10 * time.Second
	}
	_, err := do(c.t.Context(), look(c.t, c.pid), Change{Apply: []*Patch{p}},
		Options{StopTimeout: limit, oneByOne: oneByOne, step: func(string) {
			if n++; n-1 == at {
				f.Freeze()
			}
		}})
	f.Thaw()
	if err != nil && !errors.Is(err, ErrNotRunning) && !errors.Is(err, tracer.ErrNotStopping) {
		c.t.Errorf("frozen at step %d: %v", at, err)
	}
	return n
}
