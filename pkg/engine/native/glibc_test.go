package native

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// libcPath is the libc that this machine's programs have in memory.
func libcPath(t testing.TB) string {
	t.Helper()
	c := start(t, gcc(t, "allocate", "testdata/allocate.c", "-pthread"), 0)
	libs, err := look(t, c.pid).Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libs {
		if l.SONAME == "libc.so.6" {
			return l.Path
		}
	}
	t.Fatal("no libc.so.6")
	return ""
}

// libcOnly leaves of a snapshot what concerns libc: the program's arenas grow.
func libcOnly(snapshot string) string {
	var b strings.Builder
	keep := false
	for line := range strings.Lines(snapshot) {
		if strings.Contains(line, "-") {
			keep = strings.Contains(line, "libc.so") || strings.Contains(line, "lpbuild")
		}
		if keep {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestStockMalloc patches malloc of this machine's own libc, which was compiled without NOPs, in a
// program that uses it in several threads.
func TestStockMalloc(t *testing.T) {
	p := pack(t, libcPath(t), "malloc:malloc_lp\n", ulp.PackOptions{Force: true},
		"testdata/malloc.c")
	c := start(t, gcc(t, "allocate", "testdata/allocate.c", "-pthread"), 4)
	c.says("", "glibc")
	before := libcOnly(c.snapshot())
	pid := look(t, c.pid)
	if _, err := do(t.Context(), pid, Change{Apply: []*Patch{p}},
		Options{}); !errors.Is(err, ErrEntry) {
		t.Errorf("without entries: any: %v", err)
	}
	for range 5 {
		c.apply(Options{Entries: symtab.EntriesAny}, p)
		c.says("", "glibc-livepatch")
		for c.revert(); len(c.list()) > 0; c.change(Change{}, Options{}) {
		}
		c.says("", "glibc")
	}
	if d := cmp.Diff(before, libcOnly(c.snapshot())); d != "" {
		t.Errorf("not as before: %s", d)
	}
}
