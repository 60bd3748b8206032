package native

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// answer packs a live patch whose first() and second() return a number.
func answer(t testing.TB, lib string, n int, lines string) *Patch {
	return pack(t, lib, lines, ulp.PackOptions{}, "testdata/patch.c", fmt.Sprintf("-DANSWER=%d", n))
}

const both = "first:first_lp\nsecond:second_lp\n"

// containers returns what is active, from the bottom up, by the description's functions.
func (c *child) active() string {
	var b strings.Builder
	for _, a := range c.list() {
		if a.Active {
			fmt.Fprintf(&b, "%d:%d ", a.Serial, len(a.Functions))
		}
	}
	return strings.TrimSpace(b.String())
}

func (c *child) revertOnly(p *Patch) Result {
	return c.change(Change{Revert: func(a AppliedPatch) bool { return a.ID == p.Meta.PatchID }},
		Options{})
}

// TestStack: the newest wins; reverting one in the middle leaves it so; what is below comes back.
func TestStack(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	two, three, four := answer(t, lib, 2, both), answer(t, lib, 3, both),
		answer(t, lib, 4, "first:first_lp\n")
	c.apply(Options{}, two)
	c.apply(Options{}, three)
	c.apply(Options{}, four)
	c.says("all", "4 3 5 7 original")
	if got := c.active(); got != "1:2 2:2 3:1" {
		t.Errorf("active: %s", got)
	}
	c.revertOnly(three)
	c.says("all", "4 2 5 7 original")
	c.revertOnly(four)
	c.says("all", "2 2 5 7 original")
	c.apply(Options{}, three, four)
	c.says("all", "4 3 5 7 original")
	c.revertOnly(two)
	c.says("all", "4 3 5 7 original")
	if _, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{four}},
		Options{}); !errors.Is(err, ErrApplied) {
		t.Errorf("applied again: %v", err)
	}
	c.revert()
	c.says("all", original)
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("not as before: %s", d)
	}
	notThere := Change{Revert: everyOne}
	if _, err := do(t.Context(), look(t, c.pid), notThere,
		Options{}); !errors.Is(err, ErrNotApplied) {
		t.Errorf("reverted again: %v", err)
	}
}

// TestReplaceAtOnce: revert and apply in one stop, under load: no thread ever sees the original.
func TestReplaceAtOnce(t *testing.T) {
	lib := library(t, nopFlags)
	a, b := answer(t, lib, 2, both), answer(t, lib, 2, both+"text:text_lp\n")
	c := start(t, target(t, lib), 3)
	c.apply(Options{}, a)
	c.expect(2)
	for i := range 20 {
		p := []*Patch{b, a}[i%2]
		c.change(Change{Revert: everyOne, Apply: []*Patch{p}}, Options{})
		if n := len(strings.Fields(c.active())); n != 1 {
			t.Fatalf("%d are active", n)
		}
	}
	c.right()
}

// TestTwoLibraries: a change may concern several libraries, each of which has a table of its own.
func TestTwoLibraries(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	libc := pack(t, libcPath(t), "malloc:malloc_lp\n", ulp.PackOptions{Force: true},
		"testdata/malloc.c")
	mine := answer(t, lib, 2, both)
	c.apply(Options{Entries: symtab.EntriesAny}, mine, libc)
	c.says("all", "2 2 5 7 original")
	if got := c.active(); got != "1:2 1:1" && got != "1:1 1:2" {
		// there is no order between libraries
		t.Errorf("active: %s", got)
	}
	c.revertOnly(libc)
	c.says("all", "2 2 5 7 original")
	c.revertOnly(mine)
	c.says("all", original)
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("not as before: %s", d)
	}
}

// TestFork: a child inherits what was applied, and is reverted alone.
func TestFork(t *testing.T) {
	for _, load := range []string{"anonymous", "memfd", "file"} {
		t.Run(load, func(t *testing.T) {
			needed(t, "", load)
			testFork(t, load)
		})
	}
}

func testFork(t *testing.T, load string) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	p := placed(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	before := c.snapshot()
	c.apply(Options{load: load}, p)
	parent := c.pid
	if _, err := fmt.Sscan(c.Ask("forkserve"), &c.pid); err != nil {
		t.Fatal(err)
	}
	c.says("all", patched)
	if got := c.active(); got != "1:8" {
		t.Errorf("in the child: %s", got)
	}
	c.revert()
	c.says("all", original)
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("the child is not as before: %s", d)
	}
	child := c.pid
	c.pid = parent
	if got := c.active(); got != "1:8" {
		t.Errorf("in the parent: %s", got)
	}
	c.pid = child
	c.apply(Options{load: load}, p)
	c.says("all", patched)
}

// TestExec: a plan is good for the program that it was made for.
func TestExec(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	pl, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.says("exec", "ready")
	if _, err := pl.Run(t.Context()); !errors.Is(err, process.ErrChanged) {
		t.Errorf("after exec: %v", err)
	}
	old := look(t, c.pid)
	c.says("exec", "ready")
	if _, err := do(t.Context(), old, Change{Apply: []*Patch{p}}, Options{}); err != nil {
		t.Errorf("Do after exec: %v", err)
	}
	c.says("all", patched)
	if pl, err = newPlan(t.Context(), look(t, c.pid), Change{Revert: everyOne},
		Options{}); err != nil {
		t.Fatal(err)
	}
	io.WriteString(c.In, "exit\n")
	_ = c.Cmd.Wait()
	if _, err := pl.Run(t.Context()); !errors.Is(err, process.ErrGone) {
		t.Errorf("after exit: %v", err)
	}
}

// TestStalePlan: of two plans for one process, the second one notices that the first was carried
// out.
func TestStalePlan(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	var plans []*Plan
	for n := range 2 {
		pl, err := newPlan(t.Context(), look(t, c.pid),
			Change{Apply: []*Patch{answer(t, lib, n+2, both)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, pl)
	}
	if _, err := plans[0].Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := c.snapshot()
	if _, err := plans[1].Run(t.Context()); !errors.Is(err, ErrStale) {
		t.Errorf("the second plan: %v", err)
	}
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("changed: %s", d)
	}
	c.says("all", "2 2 5 7 original")

	// A plan that maps nothing is as careful.
	pl, err := newPlan(t.Context(), look(t, c.pid), Change{Revert: everyOne}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c.apply(Options{}, answer(t, lib, 4, "first:first_lp\n"))
	before = c.snapshot()
	if _, err := pl.Run(t.Context()); !errors.Is(err, ErrStale) {
		t.Errorf("the plan to revert: %v", err)
	}
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("changed: %s", d)
	}
	c.says("all", "4 2 5 7 original")
}
