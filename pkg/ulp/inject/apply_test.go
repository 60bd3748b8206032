package inject

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestApplyAndRevert: functions, relocations, IFUNCs of libc, a static variable and a thread-local one; and afterwards
// nothing is left of it.
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
			if len(list) != 1 || !list[0].Active || list[0].Container != "patch.so" || len(list[0].Functions) != 8 ||
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
