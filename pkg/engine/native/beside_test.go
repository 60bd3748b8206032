package native

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// The kernel joins anonymous mappings that touch. A program may map memory of the same kind beside
// a region, which then begins or ends in the middle of a mapping.

// TestBeside: a region is found, changed and given back beside memory of the program, which stays.
func TestBeside(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	below := answer(t, lib, 3, both)
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	c.apply(Options{}, below)
	lo, hi := c.regionOf(c.tables()[0])
	for _, at := range []uint64{lo - pageSize, hi} {
		c.says(fmt.Sprint("code ", at), "ok")
	}
	if n := len(c.list()); n != 1 {
		t.Fatalf("%d live patches are found beside memory of the program, want 1", n)
	}
	c.apply(Options{}, p)
	c.says("all", patched)
	c.revert()
	c.says("all", original)
	for _, at := range []uint64{lo - pageSize, hi} {
		c.says(fmt.Sprint("uncode ", at), "0")
	}
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Error(d)
	}
}

// TestBesideUnfinished kills the engine before each thing it does, and has the program map memory
// beside what is left, full of zeros as a region is of which nothing has been written. The next
// change gives back nothing of that.
func TestBesideUnfinished(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	path := file(t, p)
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	seen := map[string]int{}
	for n := range stepsOf(t, c.pid, work{path: path}) {
		c.cleared(before)
		if err := startEngineAs(t, c.pid, n, work{path: path}).Run(); !targettest.Killed(err) {
			t.Fatalf("step %d: %v", n, err)
		}
		c.whole("home again")
		v := opened(t, c.pid)
		st, err := v.readState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range st.unfinished {
			var head [8]byte
			if _, err := v.m.ReadAt(t.Context(), head[:], u.off); err != nil {
				t.Fatal(err)
			}
			lo, hi := c.regionOf(u.off)
			for _, at := range []uint64{hi, lo - pageSize} { // above, then on both sides
				c.says(fmt.Sprint("code ", at), "ok")
				c.change(Change{}, Options{})
				c.says("all", original)
				if !mapped(t, c.pid, at) {
					t.Fatalf("killed before step %d: a page of the program beside the region "+
						"%#x-%#x is gone", n, lo, hi)
				}
			}
			if head == [8]byte{} {
				seen["zeros"]++ // not known to be ours: it stays
			} else {
				seen["marked"]++
				if mapped(t, c.pid, lo) {
					t.Fatalf("killed before step %d: the region %#x-%#x beside memory of the "+
						"program is still there", n, lo, hi)
				}
			}
			for _, at := range []uint64{lo - pageSize, hi} {
				c.says(fmt.Sprint("uncode ", at), "0")
			}
		}
	}
	c.cleared(before)
	if seen["zeros"] == 0 || seen["marked"] == 0 {
		t.Errorf("not killed both before and after the mark: %v", seen)
	}
}

// tables returns where the tables of a process are.
func (c *child) tables() (list []uint64) {
	c.t.Helper()
	p := look(c.t, c.pid)
	list, err := see(c.t.Context(), p, func(_ context.Context, v *View) (list []uint64, _ error) {
		for _, t := range v.st.tables {
			list = append(list, t.base)
		}
		return list, nil
	})
	if err != nil || len(list) == 0 {
		c.t.Fatalf("tables: %v, %v", list, err)
	}
	return list
}

// regionOf returns the range of the mappings that touch, from the one on that begins at an address.
func (c *child) regionOf(base uint64) (lo, hi uint64) {
	c.t.Helper()
	lo, hi = base, base
	for _, m := range mappings(c.t, c.pid) {
		if m.Start == hi {
			hi = m.End
		}
	}
	return lo, hi
}

func mapped(t *testing.T, pid int, at uint64) bool {
	t.Helper()
	return slices.ContainsFunc(mappings(t, pid), func(m rtld.Mapping) bool {
		return at-m.Start < m.End-m.Start
	})
}

func mappings(t testing.TB, pid int) []rtld.Mapping {
	t.Helper()
	p := look(t, pid)
	list, err := see(t.Context(), p, func(_ context.Context, v *View) ([]rtld.Mapping, error) {
		return v.v.maps, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
