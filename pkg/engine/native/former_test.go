package native

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// busyIn fails the test unless a change waits for a thread that is in a function, and leaves the
// process as it is.
func (c *child) busyIn(function string, ch Change, o Options) {
	c.t.Helper()
	o.Consistency = ConsistencyFunctions
	before := c.snapshot()
	err := doBusy(c.t, c.pid, ch, o)
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Function != function {
		c.t.Errorf("a thread is in former code of %q: %v", function, err)
	}
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		c.t.Errorf("changed: %s", d)
	}
}

// TestFormerCode: with ConsistencyFunctions all code counts that a function ever had and that is
// still in memory, not only what it leads to now.
func TestFormerCode(t *testing.T) {
	lib := library(t, nopFlags)
	const only = "calls:calls_lp\n"
	a, b, d := answer(t, lib, 2, only), answer(t, lib, 3, only),
		answer(t, lib, 4, "calls:calls_lp\nfirst:first_lp\n")
	functions := Options{Consistency: ConsistencyFunctions}
	for _, test := range []struct {
		name   string
		before []*Patch // applied when the thread comes
		then   func(c *child)
		says   string // by the thread when it leaves
	}{
		{"reverted", []*Patch{a}, func(c *child) { c.revert() }, "15"},
		{"original below a live patch", nil, func(c *child) { c.apply(Options{}, a) }, "6"},
		{"below another live patch", []*Patch{a}, func(c *child) { c.apply(Options{}, b) }, "15"},
		{"reverted below another one", []*Patch{a, b}, func(c *child) { c.revertOnly(b) }, "15"},
		{"original, live patch reverted", nil, func(c *child) {
			c.apply(Options{}, a)
			c.change(Change{Revert: everyOne, Apply: []*Patch{b}}, Options{})
		}, "6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := start(t, target(t, lib), 0)
			for _, p := range test.before {
				c.apply(Options{}, p)
			}
			c.says("calls", "ok")
			test.then(c)
			c.busyIn("calls", Change{Apply: []*Patch{d}}, Options{})
			c.busyIn("calls", Change{Apply: []*Patch{d}, Revert: everyOne}, Options{})
			c.says("release", test.says)
			c.apply(functions, d)
			c.says("all", "4 1 5 7 original")
		})
	}
}

// TestFormerCodeThatComesBack: a thread in the code that its function has after the change hinders
// nothing.
func TestFormerCodeThatComesBack(t *testing.T) {
	lib := library(t, nopFlags)
	const only = "calls:calls_lp\n"
	a, b := answer(t, lib, 2, only), answer(t, lib, 3, only)
	functions := Options{Consistency: ConsistencyFunctions}
	c := start(t, target(t, lib), 0)
	c.says("calls", "ok") // in the original
	c.apply(Options{}, a)
	c.change(Change{Revert: everyOne}, functions)
	c.says("release", "6")
	c.apply(Options{}, a)
	c.says("calls", "ok") // in a
	c.apply(Options{}, b)
	c.change(Change{Revert: func(l AppliedPatch) bool { return l.ID == b.Meta.PatchID }}, functions)
	c.says("release", "15")
}

// TestFormerCodeMoved has a thread in the instructions that a detour has moved away, where it goes
// on with the original.
func TestFormerCodeMoved(t *testing.T) {
	lib := library(t, "-O0", "-fcf-protection=none")
	force := ulp.PackOptions{Force: true}
	a := pack(t, lib, "first:first_lp\n", force, "testdata/patch.c")
	b := pack(t, lib, "first:second_lp\n", force, "testdata/patch.c")
	code := Options{Entries: symtab.EntriesAny}
	c := start(t, target(t, lib), 1)
	entry := addressOf(t, c, "first")
	c.apply(code, a)
	st, err := opened(t, c.pid).readState(t.Context())
	if err != nil || len(st.tables) != 1 {
		t.Fatal(st, err)
	}
	threadAtMoved(t, c.pid, entry, st.tables[0].stub(st.tables[0].find(entry))+movedAt)
	for range 2 { // above the live patch, then with nothing but its table in memory
		c.busyIn("first", Change{Apply: []*Patch{b}}, code)
		c.revert()
	}
	if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	code.Consistency = ConsistencyFunctions
	c.apply(code, b)
	c.right()
}

// TestPointers: a pointer to a function is no call of it, on a stack or in a register.
func TestPointers(t *testing.T) {
	for _, lib := range []string{library(t, nopFlags), library(t, "-O0", "-fcf-protection=none"),
		library(t, nopFlags, "-fcf-protection=full")} {
		c := start(t, target(t, lib), 0)
		c.says("points", "ok")
		p := pack(t, lib, "calls:calls_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
		c.apply(Options{Consistency: ConsistencyFunctions, Entries: symtab.EntriesAny}, p)
		c.change(Change{Revert: everyOne}, Options{Consistency: ConsistencyFunctions})
		c.says("release", "6")
	}
}

// TestAtTheEntry stops a thread where a function begins. There it will meet the detour: it is not
// in the original yet. Where a replacement begins it has met the detour already.
func TestAtTheEntry(t *testing.T) {
	functions := Options{Consistency: ConsistencyFunctions, Entries: symtab.EntriesAny}
	for _, lib := range []string{library(t, nopFlags), library(t, "-O0", "-fcf-protection=none")} {
		p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
		other := pack(t, lib, "first:second_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
		c := start(t, target(t, lib), 1)
		threadAt(t, c.pid, addressOf(t, c, "first"))
		c.apply(functions, p)
		if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		c.right()
		c.says("all", "2 1 5 7 original")
		st, err := opened(t, c.pid).readState(t.Context())
		if err != nil || len(st.records) != 1 {
			t.Fatal(st, err)
		}
		threadAt(t, c.pid, st.records[0].Functions[0].Replacement)
		c.busyIn("first", Change{Apply: []*Patch{other}}, functions)
		if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		c.apply(functions, other)
		c.right()
	}
}
