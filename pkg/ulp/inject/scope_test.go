package inject

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// source writes a live patch of one file, whose first_lp returns an expression.
func source(t *testing.T, declarations, expression string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.c")
	text := declarations + "\nint first_lp(void) { return " + expression + "; }\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestThreadLocal: thread-local variables of the library, in the ways in which compilers reach them; and errno of libc.
func TestThreadLocal(t *testing.T) {
	lib := library(t, nopFlags)
	for name, flags := range map[string][]string{
		"general dynamic": nil, "initial exec": {"-ftls-model=initial-exec"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, target(t, lib), 0)
			path := source(t, "extern __thread int shared;", "shared + 40")
			c.apply(Options{}, pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, append([]string{path}, flags...)...))
			c.says("all", "43 1 5 7 original")
		})
	}
}

// TestScope: the order in which symbols are found is the dynamic loader's: what is preloaded goes before the library. But
// what the container defines itself, it means.
func TestScope(t *testing.T) {
	lib := library(t, nopFlags)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/preload.c", []byte("int helper(void) { return 4; } int second_own(void) { return 9; }"), 0o600); err != nil {
		t.Fatal(err)
	}
	preload := gcc(t, "preload.so", dir+"/preload.c", "-shared", "-fPIC")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "int helper(void); int second_own(void) { return 10; }",
		"helper() + second_own()"))
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, p)
	c.says("all", "13 1 5 7 original")
	c = start(t, target(t, lib), 0, "LD_PRELOAD="+preload)
	c.apply(Options{}, p)
	c.says("all", "14 1 5 7 original")
}

// TestPlugin: a library that dlopen loaded for itself alone: its own symbols are found there, and its thread-local storage.
func TestPlugin(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, gcc(t, "plugin", "testdata/plugin.c", "-ldl"), 0, "PLUGIN="+lib)
	c.says("", "1")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "int helper(void); extern __thread int shared;",
		"helper() + shared * 10"))
	c.apply(Options{}, p)
	c.says("", "33")
	c.revert()
	c.says("", "1")
}

// TestNamespace: a library in a link namespace of its own (dlmopen) is refused: its symbols are not those of the process's
// list. So is libc, which is there twice then.
func TestNamespace(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, gcc(t, "plugin", "testdata/plugin.c", "-ldl"), 0, "PLUGIN="+lib, "NAMESPACE=1")
	c.refused(Change{Apply: []*Patch{answer(t, lib, 2, both)}}, Options{}, ErrTwice)
	p := pack(t, libcPath(t), "malloc:malloc_lp\n", ulp.PackOptions{Force: true}, "testdata/malloc.c")
	c.refused(Change{Apply: []*Patch{p}}, Options{Entries: ulp.EntriesAny}, ErrTwice)
	c.says("", "1")
}
