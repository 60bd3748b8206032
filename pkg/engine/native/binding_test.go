package native

import (
	"bytes"
	"debug/elf"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// hasCopy reports whether a program has a COPY relocation.
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

// TestCopied: a variable of the library that lives in the program, by a COPY relocation, is the
// program's for a live patch as it is for the library, both by its name and by a reference (#). In
// a library that is bound to itself (-Bsymbolic) a reference means what the library uses, a name
// what the dynamic loader finds.
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
		for kind, pie := range map[string][]string{"fixed": {"-no-pie", "-fno-pie"},
			"PIE": {"-pie", "-fPIE"}} {
			t.Run(tc.name+", "+kind, func(t *testing.T) {
				program := gcc(t, "copy",
					append([]string{"testdata/copy.c", lib, "-Wl,-rpath," + filepath.Dir(lib)},
						pie...)...)
				if !hasCopy(t, program) {
					t.Skip("this compiler makes no COPY relocations")
				}
				c := start(t, program, 0)
				c.says("", tc.none)
				byName := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
					source(t, "extern int visible;", "visible + 100"))
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

// TestUnresolvedIFUNC: which implementation of an indirect function is the right one, only its
// resolver knows, which is never run. As long as the dynamic loader has not run it for anybody
// either, a live patch that needs the function is refused.
func TestUnresolvedIFUNC(t *testing.T) {
	lib := library(t, nopFlags, "testdata/chooser.c")
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int chosen(void);", "chosen() + 40"))
	lazy := gcc(t, "libchooses.so", "-shared", "-fPIC", "testdata/chooses.c", lib, "-Wl,-z,lazy")
	c := start(t, target(t, lib, "-Wl,--no-as-needed", lazy, "-Wl,-rpath,"+filepath.Dir(lazy)), 0)
	// there is a slot, which waits for the first call
	c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
	c = start(t, target(t, lib), 0)
	c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
	c.says("all", original)
	c.says("load "+gcc(t, "chooses.so", "-shared", "-fPIC", "testdata/chooses.c", lib), "ok")
	c.apply(Options{}, p)
	c.says("all", "42 1 5 7 original")
}

// TestLazyIFUNC: a slot that waits for the first call leads to code in the same library that asks
// the dynamic loader. It is not taken for an implementation.
func TestLazyIFUNC(t *testing.T) {
	for name, flags := range map[string][]string{"plain": nil,
		"with landing marks": {"-fcf-protection", "-Wl,-z,ibtplt"}} {
		t.Run(name, func(t *testing.T) {
			lib := library(t, append([]string{nopFlags, "testdata/chooser.c", "-DUSED",
				"-Wl,-z,lazy"}, flags...)...)
			p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
				source(t, "int chosen(void);", "chosen() + 40"))
			c := start(t, target(t, lib), 0)
			c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
			c.says("split", "2") // the first call
			c.apply(Options{}, p)
			c.says("all", "42 1 5 7 original")
		})
	}
}

// TestIndirectVersions: a slot that is bound to another version of an indirect function says
// nothing of this one.
func TestIndirectVersions(t *testing.T) {
	lib := library(t, nopFlags, "testdata/chooser.c", "-Wl,--version-script=testdata/versions.map",
		"-DVERSIONS")
	bound := func(version string) string {
		return gcc(t, "bound.so", "-shared", "-fPIC", "-Wl,-z,now",
			source(t, `int chosen(void); asm(".symver chosen, chosen@`+version+`");`, "chosen()"),
			lib)
	}
	old := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, `int chosen(void); asm(".symver chosen, chosen@V1");`, "chosen() + 40"), lib)
	none := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, `int chosen(void);`, "chosen() + 50"))
	later := pack(t, lib, "first:first_lp\n", ulp.PackOptions{},
		source(t, "int chosen(void);", "chosen() + 60"), lib)
	c := start(t, target(t, lib), 0)
	c.says("load "+bound("V1"), "ok")
	c.refused(Change{Apply: []*Patch{later}}, Options{}, ErrUnresolved)
	c.apply(Options{}, old)
	c.says("all", "41 1 5 7 original")
	c.apply(Options{}, none)
	c.says("all", "51 1 5 7 original")
	c.says("load "+bound("V2"), "ok")
	c.apply(Options{}, later)
	c.says("all", "62 1 5 7 original")

	c = start(t, target(t, lib), 0) // what asks for no version means the oldest one
	c.says("load "+gcc(t, "bound.so", "-shared", "-fPIC", "-Wl,-z,now",
		source(t, "int chosen(void);", "chosen()")), "ok")
	c.refused(Change{Apply: []*Patch{later}}, Options{}, ErrUnresolved)
	c.apply(Options{}, old)
	c.says("all", "41 1 5 7 original")
}

// TestVersions: a function that a library has in two versions is bound to the one that the
// container was linked with, or to the oldest one if it asks for none. A library that goes before
// it and knows no versions has it for all of them.
func TestVersions(t *testing.T) {
	lib := library(t, nopFlags, "testdata/versions.c", "-Wl,--version-script=testdata/versions.map")
	preload := gcc(t, "preload.so", "-shared", "-fPIC",
		source(t, "int versioned(void) { return 3; }", "4"))
	for name, tc := range map[string]struct {
		declaration, want string
		link              []string
	}{
		"the old one": {`int versioned(void); asm(".symver versioned, versioned@V1");`, "41",
			[]string{lib}},
		"the default one": {"int versioned(void);", "42", []string{lib}},
		"not linked":      {"int versioned(void);", "41", nil},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{source(t, tc.declaration, "versioned() + 40")}, tc.link...)
			p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, args...)
			c := start(t, target(t, lib), 0)
			c.apply(Options{}, p)
			c.says("all", tc.want+" 1 5 7 original")
			c = start(t, target(t, lib), 0, "LD_PRELOAD="+preload)
			c.apply(Options{}, p)
			c.says("all", "43 1 5 7 original")
		})
	}
}

// TestPackedRelocations: pointers of which the container has only a list of bits (DT_RELR) are
// right, the last one too, and what lies between them stays as it is.
func TestPackedRelocations(t *testing.T) {
	lib := library(t, nopFlags)
	var pointers strings.Builder
	for i := range 300 { // several words of bits
		if i%5 != 0 {
			fmt.Fprintf(&pointers, "variables + %d, ", i)
		} else {
			pointers.WriteString("0, ")
		}
	}
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "-Wl,-z,pack-relative-relocs",
		source(t, "static int variables[300];\nstatic int *volatile pointers[300] = {"+
			pointers.String()+`};
static int wrong(void) {
	int n = 0;
	for (int i = 0; i < 300; i++)
		n += pointers[i] != (i % 5 ? variables + i : 0);
	return n;
}`, "wrong() + 1000"))
	packed := 0
	for _, r := range p.relocations {
		if r.kind == elf.R_X86_64_RELATIVE {
			packed++
		}
	}
	if n := relaRows(t, p); packed < 240 || n >= 240 {
		t.Fatalf("%d relative relocations, and a table of %d: they are not packed", packed, n)
	}
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, p)
	c.says("all", "1000 1 5 7 original")
}

// relaRows is how many relocations a container has in full.
func relaRows(t *testing.T, p *Patch) uint64 {
	t.Helper()
	image, _ := images.Load(p)
	f, err := elf.NewFile(bytes.NewReader(image.([]byte)))
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.DynValue(elf.DT_RELASZ)
	if err != nil || len(size) != 1 {
		t.Fatal(size, err)
	}
	return size[0] / relaSize
}
