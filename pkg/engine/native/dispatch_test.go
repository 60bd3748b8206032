package native

import (
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// dispatch lets the program handle the system calls of its first thread.
func (c *child) dispatch() {
	c.t.Helper()
	if got := c.Ask("dispatch 1"); got != "ok" {
		c.t.Skipf("%s: that the program handles system calls itself the kernel tells since Linux "+
			"6.4", got)
	}
}

// TestDispatched: a thread whose system calls may go to the program makes none for the engine.
// Another one does, or nobody.
func TestDispatched(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for _, oneByOne := range []bool{false, true} {
		o := Options{oneByOne: oneByOne}
		c := start(t, target(t, lib), 2)
		before := c.snapshot()
		c.dispatch()
		c.apply(o, p)
		c.says("all", patched)
		c.right()
		c.cleared(before)
		c = start(t, target(t, lib), 0)
		c.dispatch()
		c.refused(Change{Apply: []*Patch{p}}, o, tracer.ErrDispatched)
		c.says("all", original)
	}
}

// TestDispatchedLater: what was applied before can be taken out. The memory stays until there is a
// thread to give it back.
func TestDispatchedLater(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for _, oneByOne := range []bool{false, true} {
		c := start(t, target(t, lib), 0)
		before := c.snapshot()
		c.apply(Options{}, p)
		c.dispatch()
		c.change(Change{Revert: everyOne}, Options{oneByOne: oneByOne})
		c.says("all", original)
		if !ourMapping.MatchString(c.snapshot()) {
			t.Error("a thread gave memory back that should not have been used")
		}
		c.says("dispatch 0", "ok")
		c.cleared(before)
	}
}
