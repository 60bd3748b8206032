package native

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestLate: a change during which something takes too long is abandoned while that is possible, and
// the process is as it was.
func TestLate(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 2)
	before := c.snapshot()
	const most = time.Second // more than it takes otherwise, also on a busy machine
	for _, slow := range []string{"stopped", "look"} {
		o := Options{MaxStop: most, step: func(name string) {
			if name == slow {
				time.Sleep(most + time.Millisecond)
			}
		}}
		_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, o)
		if !errors.Is(err, ErrLate) {
			t.Errorf("%s takes too long: %v, want %v", slow, err, ErrLate)
		}
		c.says("all", original)
		c.right()
		if d := cmp.Diff(before, c.snapshot()); d != "" {
			t.Errorf("%s takes too long: the process is not as it was: %s", slow, d)
		}
	}
	c.apply(Options{}, p)
	c.says("all", patched)
}

// TestOneStop: a process that sleeps is stopped once for a change: a relative timeout, as of
// epoll_wait, begins anew at each stop.
func TestOneStop(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	for i, ch := range []Change{{Apply: []*Patch{p}}, {Revert: everyOne}} {
		c.says("all", []string{original, patched}[i])
		targettest.Await(t, "it to sleep", func() bool {
			return look(t, c.pid).State == process.Sleeping
		})
		stops := 0
		c.change(ch, Options{step: func(step string) {
			if step == "attach:interrupt" {
				stops++
			}
		}})
		if stops != 1 {
			t.Errorf("change %d: %d stops", i, stops)
		}
	}
}
