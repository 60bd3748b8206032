package native

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestApplyAndRevert: functions, relocations, IFUNCs of libc, a static variable and a thread-local
// one; and afterwards nothing is left of it.
func TestApplyAndRevert(t *testing.T) {
	for name, flags := range map[string][]string{
		"two NOPs":     {nopFlags},
		"with endbr64": {nopFlags, "-fcf-protection=branch"},
	} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, flags...)
			c := start(t, target(t, lib), 0)
			p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
			c.says("all", original)
			before := c.snapshot()
			res := c.apply(Options{}, p)
			t.Log(res)
			c.says("all", patched)
			list := c.list()
			if len(list) != 1 || !list[0].Active || list[0].Container != "patch.so" ||
				len(list[0].Functions) != 8 ||
				list[0].ID != p.Meta.PatchID || list[0].Comments == "" {
				t.Errorf("listed %+v", list)
			}
			res = c.revert()
			t.Log(res)
			c.says("all", original)
			if d := cmp.Diff(before, c.snapshot()); d != "" {
				t.Errorf("not as before: %s", d)
			}
		})
	}
}

// TestUndone has a write fail after others were made: the process is as it was, be it on the way
// in, on the way out, or on the way from one live patch to the next.
func TestUndone(t *testing.T) {
	lib := library(t, nopFlags)
	two, three := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"),
		answer(t, lib, 3, both)
	for name, tc := range map[string]struct {
		first []*Patch
		ch    Change
		says  string
	}{
		"apply":   {nil, Change{Apply: []*Patch{two}}, original},
		"revert":  {[]*Patch{two}, Change{Revert: everyOne}, patched},
		"replace": {[]*Patch{two}, Change{Revert: everyOne, Apply: []*Patch{three}}, patched},
		"on top":  {[]*Patch{three}, Change{Apply: []*Patch{two}}, "3 3 5 7 original"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, target(t, lib), 2)
			for _, p := range tc.first {
				c.apply(Options{}, p)
			}
			before := c.snapshot()
			var pl *Plan
			written, undone := 0, 0
			pl, err := newPlan(t.Context(), look(t, c.pid), tc.ch, Options{step: func(step string) {
				switch step {
				case "write":
					if written++; written == 2 {
						tp := pl.targets[0]
						for _, slot := range slices.Concat(tp.install[min(1, len(tp.install)):],
							tp.restore) {
							tp.next.sites[slot].entry = pageSize // where nothing is
						}
					}
				case "undo":
					undone++
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pl.Run(t.Context()); err == nil || undone == 0 {
				t.Fatalf("%d of %d writes were undone: %v", undone, written, err)
			}
			c.says("all", tc.says)
			if d := cmp.Diff(before, c.snapshot()); d != "" {
				t.Errorf("changed: %s", d)
			}
		})
	}
}
