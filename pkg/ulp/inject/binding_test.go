package inject

import (
	"debug/elf"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// hasCopy says whether a program has a COPY relocation.
func hasCopy(t *testing.T, program string) bool {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := f.Section(".rela.dyn").Data()
	if err != nil {
		t.Fatal(err)
	}
	for ; len(b) >= relaSize; b = b[relaSize:] {
		if elf.R_X86_64(le.Uint32(b[8:])) == elf.R_X86_64_COPY {
			return true
		}
	}
	return false
}

// TestCopied: a variable of the library that lives in the program, by a COPY relocation, is the program's for a live patch as
// it is for the library, both by its name and by a reference (#). In a library that is bound to itself (-Bsymbolic) a
// reference means what the library uses, a name what the dynamic loader finds.
func TestCopied(t *testing.T) {
	for _, tc := range []struct {
		name          string
		flags         []string
		none          string
		byName, byRef string
	}{
		{"bound by the loader", nil, "21 1", "22 122", "23 223"},
		{"bound to itself", []string{"-Wl,-Bsymbolic"}, "20 1", "20 122", "20 220"},
	} {
		lib := library(t, append([]string{nopFlags}, tc.flags...)...)
		for kind, pie := range map[string][]string{"fixed": {"-no-pie", "-fno-pie"}, "PIE": {"-pie", "-fPIE"}} {
			t.Run(tc.name+", "+kind, func(t *testing.T) {
				program := gcc(t, "copy", append([]string{"testdata/copy.c", lib, "-Wl,-rpath," + filepath.Dir(lib)}, pie...)...)
				if !hasCopy(t, program) {
					t.Skip("this compiler makes no COPY relocations")
				}
				c := start(t, program, 0)
				c.says("", tc.none)
				byName := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "extern int visible;", "visible + 100"))
				byRef := pack(t, lib, "first:first_lp\n#visible:ulpr_visible\n", ulp.PackOptions{},
					source(t, "int *ulpr_visible;", "*ulpr_visible + 200"))
				c.apply(Options{}, byName)
				c.says("", tc.byName)
				c.change(Change{Revert: everyOne, Apply: []*Patch{byRef}}, Options{})
				c.says("", tc.byRef)
			})
		}
	}
}

// TestUnresolvedIFUNC: which implementation of an indirect function is the right one, only its resolver knows, which is never
// run. As long as the dynamic loader has not run it for anybody either, a live patch that needs the function is refused.
func TestUnresolvedIFUNC(t *testing.T) {
	lib := library(t, nopFlags, "testdata/chooser.c")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "int chosen(void);", "chosen() + 40"))
	c := start(t, target(t, lib), 0)
	c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
	c.says("all", original)
	c.says("load "+gcc(t, "chooses.so", "-shared", "-fPIC", "testdata/chooses.c", lib), "ok")
	c.apply(Options{}, p)
	c.says("all", "42 1 5 7 original")
}

// TestLazyIFUNC: a slot that waits for the first call leads to code in the same library that asks the dynamic loader. It is
// not taken for an implementation.
func TestLazyIFUNC(t *testing.T) {
	for name, flags := range map[string][]string{"plain": nil, "with landing marks": {"-fcf-protection", "-Wl,-z,ibtplt"}} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, append([]string{nopFlags, "testdata/chooser.c", "-DUSED", "-Wl,-z,lazy"}, flags...)...)
			p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "int chosen(void);", "chosen() + 40"))
			c := start(t, target(t, lib), 0)
			c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
			c.says("split", "2") // the first call
			c.apply(Options{}, p)
			c.says("all", "42 1 5 7 original")
		})
	}
}
