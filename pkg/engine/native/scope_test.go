package native

import (
	"context"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
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

// TestThreadLocal: thread-local variables of the library, in the ways in which compilers reach
// them; and errno of libc.
func TestThreadLocal(t *testing.T) {
	lib := library(t, nopFlags)
	for name, flags := range map[string][]string{
		"general dynamic": nil, "initial exec": {"-ftls-model=initial-exec"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, target(t, lib), 0)
			path := source(t, "extern __thread int shared;", "shared + 40")
			c.apply(Options{}, pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
				append([]string{path}, flags...)...))
			c.says("all", "43 1 5 7 original")
		})
	}
}

// TestAddends: pointers into the middle of things, of the container's own that others may see, of
// the library's, and of a variable of which the program has a copy.
func TestAddends(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, `int numbers[4] = {1, 2, 3, 4};
int *volatile third = numbers + 2;
extern char visible[];
char *volatile behind = visible + 3;`, "*third * 10 + (int)(behind - visible)"))
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, p)
	c.says("all", "33 1 5 7 original")
}

// TestScope: the order in which symbols are found is the dynamic loader's: what is preloaded goes
// before the library. But what the container defines itself, it means.
func TestScope(t *testing.T) {
	lib := library(t, nopFlags)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/preload.c", []byte("int helper(void) { return 4; } int "+
		"second_own(void) { return 9; }"), 0o600); err != nil {
		t.Fatal(err)
	}
	preload := gcc(t, "preload.so", dir+"/preload.c", "-shared", "-fPIC")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int helper(void); int second_own(void) { return 10; }",
			"helper() + second_own()"))
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, p)
	c.says("all", "13 1 5 7 original")
	c = start(t, target(t, lib), 0, "LD_PRELOAD="+preload)
	c.apply(Options{}, p)
	c.says("all", "14 1 5 7 original")
}

// TestHidden: what a library's table names, and yet keeps to itself, is nobody else's.
func TestHidden(t *testing.T) {
	lib := changed(t,
		library(t, nopFlags, "-Wl,--build-id=0x0123456789012345678901234567890123456702"), "helper",
		func(row, _ []byte) { row[5] = byte(elf.STV_HIDDEN) })
	c := start(t, target(t, lib), 0)
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int helper(void);", "helper()"))
	c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
	c.says("all", original)
}

// TestPreloadNeeds: what is needed by what is preloaded is in the global scope, however far away.
func TestPreloadNeeds(t *testing.T) {
	lib := library(t, nopFlags)
	far := linked(t, "libfar.so", "int far_away(void) { return 8; }")
	near := linked(t, "libnear.so", "int far_away(void); int near(void) { return far_away(); }",
		far)
	preload := linked(t, "preload.so", "int near(void); int preloaded(void) { return near(); }",
		near)
	c := start(t, target(t, lib), 0, "LD_PRELOAD="+preload)
	c.apply(Options{}, pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int far_away(void);", "far_away()")))
	c.says("all", "8 1 5 7 original")
}

// TestOwnNeeds: a library that nobody needs but the container may be unloaded at any time: nothing
// is bound to it.
func TestOwnNeeds(t *testing.T) {
	lib := library(t, nopFlags)
	other := linked(t, "libother.so", "int elsewhere(void) { return 8; }")
	c := start(t, target(t, lib), 0)
	c.says("load "+other, "ok")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "int elsewhere(void);",
		"elsewhere()"), other, "-Wl,-rpath,"+filepath.Dir(other))
	c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
	c.says("all", original)
	c = start(t, target(t, lib, "-Wl,--no-as-needed", other, "-Wl,-rpath,"+filepath.Dir(other)), 0)
	c.apply(Options{}, p)
	c.says("all", "8 1 5 7 original")
}

// linked compiles a library that needs others.
func linked(t *testing.T, name, text string, needs ...string) string {
	t.Helper()
	args := []string{"-shared", "-fPIC", "-Wl,--no-as-needed", "-Wl,-soname," + name,
		source(t, text, "0")}
	for _, n := range needs {
		args = append(args, n, "-Wl,-rpath,"+filepath.Dir(n))
	}
	return gcc(t, name, args...)
}

// TestBreadthFirst: of two libraries that a plugin needs the first one goes before the second, and
// that before what the first one needs.
func TestBreadthFirst(t *testing.T) {
	below := linked(t, "libbelow.so", "int which(void) { return 6; }")
	left := linked(t, "libleft.so", "int left(void) { return 4; }", below)
	right := linked(t, "libright.so", "int which(void) { return 5; } int left(void) { return 3; }")
	lib := library(t, nopFlags, "-Wl,--no-as-needed", left, right, "-Wl,-rpath,"+filepath.Dir(left)+
		":"+filepath.Dir(right))
	c := start(t, gcc(t, "plugin", "testdata/plugin.c", "-ldl"), 0, "PLUGIN="+lib)
	c.apply(Options{}, pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int which(void), left(void);", "left() * 10 + which()")))
	c.says("", "45")
}

// TestPlugin: a library that dlopen loaded for itself alone: its own symbols are found there, and
// its thread-local storage.
func TestPlugin(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, gcc(t, "plugin", "testdata/plugin.c", "-ldl"), 0, "PLUGIN="+lib)
	c.says("", "1")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int helper(void); extern __thread int shared;", "helper() + shared * 10"))
	c.apply(Options{}, p)
	c.says("", "33")
	c.revert()
	c.says("", "1")
}

// listsNamespaces skips a test where the dynamic loader does not tell debuggers of other
// namespaces: before glibc 2.35.
func listsNamespaces(t *testing.T, c *child) {
	t.Helper()
	n, err := see(t.Context(), look(t, c.pid), func(ctx context.Context, v *View) (int, error) {
		spaces, err := v.v.loaded.Namespaces(ctx)
		return len(spaces), err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 2 {
		t.Skipf("this machine's glibc tells of %d namespaces: it is older than 2.35", n)
	}
}

// TestNamespace: a library in a link namespace of its own (dlmopen), whose symbols and thread-local
// storage are found there. libc is there twice then, and both are patched.
func TestNamespace(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, gcc(t, "plugin", "testdata/plugin.c", "-ldl"), 0, "PLUGIN="+lib, "NAMESPACE=1")
	listsNamespaces(t, c)
	before := c.snapshot()
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int helper(void); extern __thread int shared;"+"unsigned long strlen(const "+
			"char *); char *getenv(const char *);",
			`helper() + shared * 10 + (int)strlen(getenv("NAMESPACE")) * 100`))
	c.apply(Options{}, p)
	c.says("", "133")
	c.revert()
	c.says("", "1")
	libc := pack(t, libcPath(t), "malloc:malloc_lp\n", ulp.PackOptions{Force: true},
		"testdata/malloc.c")
	if res := c.apply(Options{Entries: symtab.EntriesAny}, libc); res.Loaded != 2 {
		t.Errorf("%d copies of libc were patched", res.Loaded)
	}
	c.says("", "1")
	c.revert()
	c.cleared(before)
}

// TestTwice: a library that is there twice is patched in both places, also if the second came
// later; and is reverted in both.
func TestTwice(t *testing.T) {
	lib := library(t, nopFlags)
	program := gcc(t, "plugin", "testdata/plugin.c", "-ldl")
	c := start(t, program, 0, "PLUGIN="+lib, "NAMESPACE=1", "TWICE=1")
	listsNamespaces(t, c)
	before := c.snapshot()
	two := answer(t, lib, 2, both)
	if res := c.apply(Options{}, two); res.Loaded != 2 {
		t.Errorf("%+v", res)
	}
	c.says("", "2 2")
	c.refused(Change{Apply: []*Patch{two}}, Options{}, ErrApplied)
	if res := c.revertOnly(two); res.Reverted != 2 {
		t.Errorf("%+v", res)
	}
	c.says("", "1 1")
	c.cleared(before)

	c = start(t, program, 0, "PLUGIN="+lib, "NAMESPACE=1")
	c.apply(Options{}, two)
	c.says("other", "2 1")
	if res := c.apply(Options{}, two); res.Loaded != 1 {
		t.Errorf("%+v", res)
	}
	c.says("", "2 2")
	if got := c.active(); got != "1:2 1:2" {
		t.Errorf("active: %s", got)
	}
	c.revert()
	c.says("", "1 1")
}

// TestUnlisted: a library that the dynamic loader does not tell of, as in other namespaces before
// glibc 2.35, is refused if the live patch needs symbols.
func TestUnlisted(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, gcc(t, "plugin", "testdata/plugin.c", "-ldl"), 0, "PLUGIN="+lib, "NAMESPACE=1")
	debug, err := see(t.Context(), look(t, c.pid),
		func(ctx context.Context, v *View) (uint64, error) {
			loader := v.v.libs[slices.IndexFunc(v.v.libs, func(l *rtld.Library) bool {
				return l.Loader
			})]
			symbols, err := v.v.loaded.Symbols(ctx, loader)
			if err != nil {
				return 0, err
			}
			s, err := symbols.Lookup(ctx, "_r_debug", "")
			return s.Addr, err
		})
	if err != nil {
		t.Fatal(err)
	}
	c.poke(debug, []byte{1}) // its version: an old loader's
	c.refused(Change{Apply: []*Patch{pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int helper(void);", "helper()"))}}, Options{}, ErrUnlisted)
	c.apply(Options{}, pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "", "7"),
		"-nostdlib"))
	c.says("", "7")
}
