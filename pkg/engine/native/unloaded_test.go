package native

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// reloads starts a program with a plugin.
func reloads(t *testing.T, lib string) *child {
	t.Helper()
	c := start(t, gcc(t, "reloads", "testdata/reloads.c", "-ldl"), 0)
	c.says("open "+lib, "open")
	c.says("", "1")
	return c
}

// seenBefore returns a view of the process as it is now, for later.
func (c *child) seenBefore() *View {
	c.t.Helper()
	p := look(c.t, c.pid)
	m, err := p.Memory(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(m.Close)
	libs, err := m.Libraries(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	v, err := NewView(c.t.Context(), p, m, libs)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// TestAnotherInItsPlace: between the look and the plan the library is unloaded, and another one,
// whose functions look the same, comes to the same place. It is not taken for the first one, nor if
// that happens between the plan and the stop.
func TestAnotherInItsPlace(t *testing.T) {
	lib, other := library(t, nopFlags), library(t, nopFlags,
		"-Wl,--build-id=0x1234567812345678123456781234567812345678")
	c := reloads(t, lib)
	p := answer(t, lib, 2, both)
	for name, change := range map[string]Change{"apply": {Apply: []*Patch{p}},
		"revert": {Revert: everyOne}} {
		t.Run(name, func(t *testing.T) {
			if change.Revert != nil {
				c.apply(Options{}, p)
			}
			v := c.seenBefore()
			pl, err := v.Plan(t.Context(), change, Options{})
			if err != nil {
				t.Fatal(err)
			}
			c.says("close", "closed")
			c.says("open "+other, "open")
			before := c.snapshot()
			if _, err := pl.Run(t.Context()); !errors.Is(err, ErrStale) {
				t.Errorf("carried out: %v", err)
			}
			if _, err := v.Plan(t.Context(), change, Options{}); !errors.Is(err, ErrStale) {
				t.Errorf("planned: %v", err)
			}
			if c.says("", "1"); before != c.snapshot() {
				t.Error("it was changed")
			}
			c.says("close", "closed")
			c.says("open "+lib, "open")
		})
	}
}

// TestUnloaded: a library that is unloaded takes its live patches with it, and if it is loaded
// again it has none, wherever that is: it is not listed as patched, can be patched again, and all
// memory comes back.
func TestUnloaded(t *testing.T) {
	lib := library(t, nopFlags)
	c := reloads(t, lib)
	before := c.snapshot()
	one, two := answer(t, lib, 2, both), answer(t, lib, 3, both)
	c.apply(Options{}, one)
	c.says("", "2")
	c.says("close", "closed")
	if got := c.active(); got != "" {
		t.Errorf("without the library: %s", got)
	}
	c.says("open "+lib, "open")
	c.says("", "1")
	if got := c.active(); got != "" {
		t.Errorf("loaded again: %s", got)
	}
	if res := c.apply(Options{}, one); res.Loaded != 1 {
		t.Errorf("%+v", res)
	}
	c.says("", "2")
	c.says("close", "closed")
	c.says("open "+lib, "open")
	c.apply(Options{}, two)
	c.says("", "3")
	if res := c.revert(); res.Reverted != 1 {
		t.Errorf("%+v", res)
	}
	c.says("", "1")
	c.cleared(before)
}

// TestMovedCode: a library whose code was moved into memory without a file is the library all the
// same.
func TestMovedCode(t *testing.T) {
	lib := library(t, nopFlags)
	c := reloads(t, lib)
	c.says("move", "moved")
	before := c.snapshot()
	c.apply(Options{}, answer(t, lib, 2, both))
	c.says("", "2")
	c.revert()
	c.says("", "1")
	c.cleared(before)
}

// TestNotSeen: a library that a look missed keeps its table, which its functions lead to.
func TestNotSeen(t *testing.T) {
	lib := library(t, nopFlags)
	c := reloads(t, lib)
	c.apply(Options{}, answer(t, lib, 2, both))
	v := c.seenBefore()
	v.v.libs = nil
	if _, err := v.Plan(t.Context(), Change{}, Options{}); !errors.Is(err, ErrStale) {
		t.Errorf("planned: %v", err)
	}
	v.st.tables[0].unloaded = true // as if it had been unloaded at that moment
	pl, err := v.planned(t.Context(), Change{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pl.Run(t.Context()); !errors.Is(err, ErrStale) {
		t.Errorf("carried out: %v", err)
	}
	c.says("", "2")
}

// TestTwoTables: an engine that is killed while it maps a table leaves one with the same functions
// as the table that they lead to. It can be given back.
func TestTwoTables(t *testing.T) {
	lib := library(t, nopFlags)
	c := reloads(t, lib)
	c.apply(Options{}, answer(t, lib, 2, both))
	v := c.seenBefore()
	pl, err := v.Plan(t.Context(), Change{Revert: everyOne}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	other := v.st.tables[0].clone()
	other.base -= tableSize
	pl.orphans = append(pl.orphans, other)
	if _, err := pl.Run(t.Context()); err != nil {
		t.Errorf("a table that nothing leads to is in the way: %v", err)
	}
	c.says("", "1")
}

// TestBoundElsewhere: the library that a symbol of the live patch was found in is unloaded before
// the process stops.
func TestBoundElsewhere(t *testing.T) {
	lib, other := library(t, nopFlags), library(t, nopFlags,
		"-Wl,--build-id=0x1234567812345678123456781234567812345678")
	c := reloads(t, lib)
	v := c.seenBefore()
	b := &planner{Plan: &Plan{}, v: v.v}
	mine := v.v.libs[slices.IndexFunc(v.v.libs, func(l *rtld.Library) bool {
		return l.SONAME == "libtarget.so"
	})]
	if err := b.expectBound(t.Context(), nil, []*rtld.Library{mine}); err != nil ||
		len(b.expect) != 1 {
		t.Fatalf("%v, %d", err, len(b.expect))
	}
	c.says("close", "closed")
	c.says("open "+other, "open")
	if err := b.expectBound(t.Context(), nil, []*rtld.Library{mine}); !errors.Is(err, ErrStale) {
		t.Errorf("%v", err)
	}
}

// TestUnloadedError: an error that comes of a library which was unloaded meanwhile is none for
// good; another one stays.
func TestUnloadedError(t *testing.T) {
	lib := library(t, nopFlags)
	c := reloads(t, lib)
	seen := c.seenBefore()
	v, st := seen.v, seen.st
	for _, err := range []error{ErrUnlisted, ErrEntry, ErrUnresolved, context.Canceled, ErrAgain} {
		if got := v.moved(t.Context(), st, err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := v.moved(t.Context(), st, process.ErrUnreadable); !errors.Is(got, ErrStale) {
		t.Errorf("unreadable: %v", got)
	}
	spaces, err := v.loaded.Namespaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := v.loaded
	i := slices.IndexFunc(spaces[0], func(m rtld.LinkMap) bool {
		return m.Library.SONAME == "libtarget.so"
	})
	const next = 24 // l_next in struct link_map
	before := spaces[0][i-1].Addr + next
	to, err := readWord(t, v, before)
	if err != nil {
		t.Fatal(err)
	}
	after, err := readWord(t, v, to+next)
	if err != nil {
		t.Fatal(err)
	}
	c.poke(before, le.AppendUint64(nil, after))
	v.loaded = rtld.NewLinkMaps(v.m, v.libs, nil)
	_, _, err = v.loaded.Find(t.Context(), spaces[0][i].Library)
	c.poke(before, le.AppendUint64(nil, to))
	if !errors.Is(err, ErrUnlisted) || to != spaces[0][i].Addr {
		t.Fatalf("the library is taken out of the list: %v", err)
	}
	if got := v.moved(t.Context(), st, ErrUnlisted); !errors.Is(got, ErrStale) {
		// it is listed by now
		t.Errorf("unlisted: %v", got)
	}
	v.loaded = listed
	c.says("close", "closed")
	for _, err := range []error{ErrUnlisted, ErrEntry, ErrUnresolved} {
		if got := v.moved(t.Context(), st, err); !errors.Is(got, ErrStale) {
			t.Errorf("%v became %v", err, got)
		}
	}
	if got := v.moved(t.Context(), st, context.Canceled); !errors.Is(got, context.Canceled) {
		t.Errorf("%v", got)
	}
}
