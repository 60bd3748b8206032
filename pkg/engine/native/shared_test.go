package native

import (
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// share makes a process that has the memory of another one, and returns its number.
func (c *child) share() int {
	c.t.Helper()
	sharer, err := strconv.Atoi(c.Ask("share"))
	if err != nil || sharer <= 0 { // which would be everybody to kill(2)
		c.t.Fatal(sharer, err)
	}
	c.t.Cleanup(func() { _ = unix.Kill(sharer, unix.SIGKILL) })
	return sharer
}

// TestSharedMemory: of two processes with one memory, none is changed as long as the other one
// runs.
func TestSharedMemory(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	sharer := c.share()
	for _, pid := range []int{c.pid, sharer} {
		if _, err := newPlan(t.Context(), look(t, pid), Change{Apply: []*Patch{p}},
			Options{}); !errors.Is(err, ErrShared) {
			t.Errorf("process %d: %v, want %v", pid, err, ErrShared)
		}
	}
	c.says("all", original)
	c.says("unshare", "ok")
	if _, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
		Options{}); err != nil {
		t.Error(err)
	}
}

// TestSharedSince: a process that comes to share the memory after the plan was made, or while the
// process runs again in the middle of the change, is seen when all threads are stopped. Nothing is
// changed then, and nothing is left.
func TestSharedSince(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 1, "SPIN=1")
	before := c.snapshot()
	for _, when := range []string{"planned", "fill"} {
		t.Run(when, func(t *testing.T) {
			share := sync.OnceFunc(func() { c.share() })
			o := Options{twoStops: true, step: func(name string) {
				if name == when {
					share()
				}
			}}
			pl, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, o)
			if err != nil {
				t.Fatal(err)
			}
			if when == "planned" {
				o.step(when)
			}
			if _, err := pl.Run(t.Context()); !errors.Is(err, ErrShared) {
				t.Errorf("%v, want %v", err, ErrShared)
			}
			c.says("unshare", "ok")
			c.says("all", original)
			if d := cmp.Diff(before, c.snapshot()); d != "" {
				t.Error(d)
			}
		})
	}
	c.apply(Options{}, p)
	c.says("all", patched)
}

// TestSharedViews: two plans of one view ask once.
func TestSharedViews(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	seen := opened(t, c.pid)
	v, err := NewView(t.Context(), seen.p, seen.m.(*process.Memory), seen.libs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Plan(t.Context(), Change{Apply: []*Patch{p}}, Options{}); err != nil {
		t.Fatal(err)
	}
	c.share()
	pl, err := v.Plan(t.Context(), Change{Apply: []*Patch{p}}, Options{})
	if err != nil {
		t.Fatalf("asked again: %v", err)
	}
	if _, err := pl.Run(t.Context()); !errors.Is(err, ErrShared) {
		t.Errorf("%v, want %v", err, ErrShared)
	}
}
