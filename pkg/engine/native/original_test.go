package native

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// originalLines replace functions by such that call them.
const originalLines = both + "calls:calls_lp\ndeep:deep_lp\n"

// TestOriginal has replacements call what they replace: the library's code, whatever was applied
// before, with NOPs at the entries, and without, where the first instructions have been moved.
func TestOriginal(t *testing.T) {
	for name, flags := range map[string][]string{
		"NOPs":           {nopFlags},
		"NOPs, endbr64":  {nopFlags, "-fcf-protection=full"},
		"moved":          {"-fcf-protection=none"},
		"moved, endbr64": {"-fcf-protection=full"},
		"other NOPs":     {"-fpatchable-function-entry=4,2"},
	} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, flags...)
			o := ulp.PackOptions{Entries: symtab.EntriesAny}
			one := pack(t, lib, originalLines, o, "testdata/original.c")
			two := pack(t, lib, originalLines, o, "testdata/original.c", "-DANSWER=20")
			c := start(t, target(t, lib), 2)
			for range 3 {
				c.apply(Options{}, one)
				c.says("all", "2 2 5 7 original")
				c.says("calls", "ok")
				c.says("release", "18") // 6 + 1, + 1, + 10
				c.apply(Options{}, two)
				c.says("all", "2 2 5 7 original")
				c.says("calls", "ok")
				c.change(Change{Revert: everyOne}, Options{})
				c.says("release", "28") // as before: the thread was in it
				c.says("all", original)
				c.right()
				c.change(Change{Revert: everyOne, Apply: []*Patch{two}}, Options{})
				c.change(Change{Revert: everyOne, Apply: []*Patch{one}}, Options{})
				c.says("all", "2 2 5 7 original")
				c.right()
				c.revert()
				c.says("all", original)
			}
			c.bare()
		})
	}
}

// TestOriginalLate has a thread in a replacement that is reverted, and that calls the originals
// only after that: what was moved away from them stays as long as the replacement does, and goes
// with it.
func TestOriginalLate(t *testing.T) {
	for name, flags := range map[string][]string{"NOPs": {nopFlags},
		"moved": {"-fcf-protection=none"}} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, flags...)
			o := ulp.PackOptions{Entries: symtab.EntriesAny}
			p := pack(t, lib, originalLines, o, "testdata/original.c")
			q := pack(t, lib, "first:first_lp\n", o, "testdata/patch.c")
			c := start(t, target(t, lib), 1)
			for _, again := range []bool{false, true} {
				c.apply(Options{}, p)
				c.says("deep", "ok") // in the replacement
				c.revert()
				if again { // and once more, by a change that finds it left
					c.apply(Options{}, q)
					c.revert()
				}
				c.says("all", original)
				c.says("release", "17") // 5 + 1, + 1, + 10
				c.right()
				c.bare()
			}
		})
	}
}

// bare fails the test if memory of lpbuild is left in the process after every thread has returned
// from it.
func (c *child) bare() {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		m, err := look(c.t, c.pid).Memory(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		is, err := Present(c.t.Context(), m)
		m.Close()
		switch {
		case err != nil:
			c.t.Fatal(err)
		case !is:
			return
		case time.Now().After(end):
			c.t.Fatal("something is left in the process")
		}
		c.revert() // a thread was in it the last time
	}
}

// TestOriginalStock replaces functions of this machine's own libz and libc, which have no NOPs, by
// such that call them, and reverts that, while threads use them: malloc and free among them, and
// two versions of one function.
func TestOriginalStock(t *testing.T) {
	libz := stockLibrary(t, "libz.so.1")
	o := ulp.PackOptions{Entries: symtab.EntriesAny, AcceptClones: true}
	z := pack(t, libz, "deflate:deflate_lp\ninflate:inflate_lp\ncrc32:crc32_lp\n", o, "-O2",
		"testdata/stock_original.c")
	libc := pack(t, libcPath(t), "malloc:malloc_lp\nfree:free_lp\nqsort:qsort_lp\n"+
		"realpath@@GLIBC_2.3:realpath_lp\nrealpath@GLIBC_2.2.5:old_realpath_lp\n"+
		"#realpath@@GLIBC_2.3:lpbuild_original_realpath_new\n"+
		"#realpath@GLIBC_2.2.5:lpbuild_original_realpath_old\n", o, "-O2", "-DLIBC",
		"testdata/stock_original.c")
	c := start(t, gcc(t, "stock", "-O2", "testdata/stock.c", libz, "-pthread"), 3)
	c.says("check", "0 0 0 0 0 right")
	before := libcOnly(c.snapshot())
	for range 10 {
		c.apply(Options{}, z)
		c.says("check", "0 0 1 0 0 right")
		c.apply(Options{}, libc)
		c.says("check", "0 0 1 1 1 right")
		c.right()
		c.bare()
		c.says("check", "0 0 0 0 0 right")
	}
	c.right()
	if d := cmp.Diff(before, libcOnly(c.snapshot())); d != "" {
		t.Errorf("not as before: %s", d)
	}
}

// TestOriginalKilled kills an engine before each thing that it does to revert a replacement which a
// thread is in, and then apply and revert it again. Whatever another engine tidies up, the thread
// finds the originals.
func TestOriginalKilled(t *testing.T) {
	lib := library(t, "-fcf-protection=none")
	p := pack(t, lib, originalLines, ulp.PackOptions{Entries: symtab.EntriesAny},
		"testdata/original.c")
	w := work{path: file(t, p)}
	c := start(t, target(t, lib), 2)
	for n := range stepsOf(t, c.pid, w) {
		c.bare()
		c.apply(Options{}, p)
		c.says("deep", "ok")
		if out, err := startEngineAs(t, c.pid, n, w).CombinedOutput(); !targettest.Killed(err) {
			t.Fatalf("%d: %v: %s", n, err, out)
		}
		c.right()
		if n%2 == 0 {
			// what is left is taken back while the thread is in it, or not before it has gone
			if _, err := do(t.Context(), look(t, c.pid), Change{Revert: everyOne},
				Options{}); err != nil && !errors.Is(err, ErrNotApplied) {
				t.Fatal(err)
			}
		}
		c.says("release", "17")
	}
	c.bare()
	c.right()
}
