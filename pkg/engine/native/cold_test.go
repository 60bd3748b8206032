package native

import (
	"debug/elf"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// coldLibrary compiles the library with a part of calls elsewhere, stripped of the part's name.
func coldLibrary(t *testing.T, shape int, flags ...string) string {
	t.Helper()
	flags = append([]string{"-O2", "-DCOLD=" + strconv.Itoa(shape)}, flags...)
	f, err := elf.Open(library(t, flags...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == "calls.cold" {
			return library(t, append(flags, "-s")...)
		}
	}
	t.Fatalf("shape %d: the compiler has put no part of calls elsewhere", shape)
	return ""
}

// TestConsistencyColdParts: a thread in calls.cold, or in what that calls, is in calls. Nothing in
// memory names the part.
func TestConsistencyColdParts(t *testing.T) {
	for shape := 1; shape <= 3; shape++ {
		for _, flags := range [][]string{{nopFlags}, {"-fcf-protection=none"}} {
			lib := coldLibrary(t, shape, flags...)
			p := pack(t, lib, "calls:calls_lp\n",
				ulp.PackOptions{Force: true, Entries: symtab.EntriesAny}, "testdata/patch.c")
			c := start(t, target(t, lib), 0)
			c.says("calls", "ok")
			c.busyIn("calls", Change{Apply: []*Patch{p}}, Options{})
			c.says("release", "6")
			c.apply(Options{Consistency: ConsistencyFunctions}, p)
			c.says("calls", "ok")
			c.change(Change{Revert: everyOne}, Options{})
			c.says("release", "15")
		}
	}
}

// TestConsistencyTailCall: a function that calls jumps to at its end, as others do, is no part of
// it.
func TestConsistencyTailCall(t *testing.T) {
	lib := library(t, "-O2", "-DCOLD=4", nopFlags, "-s")
	p := pack(t, lib, "calls:calls_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.says("calls", "ok")
	c.apply(Options{Consistency: ConsistencyFunctions}, p)
	c.says("release", "6")
}

// TestColdPartsCached: a file's parts are those of its processes, wherever it is mapped.
func TestColdPartsCached(t *testing.T) {
	lib := coldLibrary(t, 1, nopFlags)
	p := pack(t, lib, "calls:calls_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
	cache := new(Cache)
	for range 2 {
		c := start(t, target(t, lib), 0)
		want, err := c.zones(new(Cache), p)
		if err != nil || len(want) < 2 {
			t.Fatal(want, err)
		}
		if got, err := c.zones(cache, p); err != nil ||
			!cmp.Equal(want, got, cmp.AllowUnexported(zone{})) {
			t.Errorf("%+v, want %+v: %v", got, want, err)
		}
		if got, err := c.zones(nil, p); err != nil ||
			!cmp.Equal(want, got, cmp.AllowUnexported(zone{})) {
			t.Errorf("without a cache: %+v, want %+v: %v", got, want, err)
		}
	}
}

// TestColdPartsTooLong: a function that goes on after the segment which it begins in, as a process
// can say of one, is refused.
func TestColdPartsTooLong(t *testing.T) {
	lib := coldLibrary(t, 1, nopFlags)
	c := start(t, target(t, lib), 0)
	v := seenOnce(t, c.pid).v
	v.cache = nil
	for _, l := range v.libs {
		for _, seg := range l.Segments {
			if seg.Perm&rtld.PermExec == 0 {
				continue
			}
			b := &planner{Plan: &Plan{}, v: v, texts: map[uint64]*hotpatch.Text{}}
			if parts, err := b.parts(t.Context(), l, &site{entry: seg.End - 16, kind: kindCode},
				17); !errors.Is(err, hotpatch.ErrSize) {
				t.Errorf("%s: %v, %v", l.Name, parts, err)
			}
		}
	}
}

// zones plans a live patch, and returns where no thread may be.
func (c *child) zones(cache *Cache, p *Patch) ([]zone, error) {
	c.t.Helper()
	proc := look(c.t, c.pid)
	m, err := proc.Memory(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	defer m.Close()
	libs, err := m.Libraries(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	v, err := cache.NewView(c.t.Context(), proc, m, libs)
	if err != nil {
		c.t.Fatal(err)
	}
	pl, err := v.Plan(c.t.Context(), Change{Apply: []*Patch{p}},
		Options{Consistency: ConsistencyFunctions})
	if err != nil {
		return nil, err
	}
	return pl.zones, nil
}

// TestConsistencyColdEnd: a part that only a jump table leads to, and that never comes back, is
// one, too.
func TestConsistencyColdEnd(t *testing.T) {
	lib := coldLibrary(t, 5, nopFlags)
	p := pack(t, lib, "calls:calls_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.says("calls", "ok")
	c.busyIn("calls", Change{Apply: []*Patch{p}}, Options{})
	c.says("release", "0")
	c.apply(Options{Consistency: ConsistencyFunctions}, p)
}
