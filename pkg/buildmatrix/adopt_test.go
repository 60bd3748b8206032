package buildmatrix

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// twoArchitectures returns a directory with a build of libtoy for each of two architectures.
func twoArchitectures(t *testing.T) *packageDir {
	t.Helper()
	f := newPackage(t)
	f.addBuild("1.0-1", "ppc64le", 1)
	f.addBuild("1.0-1", "x86_64", 1)
	f.edit("arch: [x86_64]", "arch: [x86_64, ppc64le]")
	return f
}

// buildOnly builds for some architectures.
func (f *packageDir) buildOnly(only ...symtab.Arch) (*Report, error) {
	f.t.Helper()
	c, err := config.Load(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	return Build(f.t.Context(), c, f.lock, Options{Tool: "test", Only: only})
}

// written returns the report file as cell → status, and its bytes.
func (f *packageDir) written() (map[string]Status, string) {
	f.t.Helper()
	r, err := ReadReport(filepath.Join(f.dir, config.BuildDir))
	if err != nil {
		f.t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(f.dir, config.BuildDir, ReportName))
	if err != nil {
		f.t.Fatal(err)
	}
	cells := map[string]Status{}
	for _, c := range r.Cells {
		cells[c.Arch] = c.Status
	}
	return cells, string(data)
}

// TestOnlyKeepsTheOthers: what was made for the architectures that are not asked for stays, byte
// for byte in the report, also where their compiler is missing.
func TestOnlyKeepsTheOthers(t *testing.T) {
	f := twoArchitectures(t)
	f.mustBuild()
	_, before := f.written()
	t.Setenv("LPBUILD_CC_PPC64LE", "no-such-compiler")
	r, err := f.buildOnly("x86_64")
	if err != nil || len(r.Cells) != 1 || r.Cells[0].Arch != "x86_64" {
		t.Fatalf("%v: %s", err, reasonText(r))
	}
	if _, after := f.written(); after != before {
		t.Errorf("the report changed:\n%s", cmp.Diff(before, after))
	}
	c, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := Install(c, []symtab.Arch{"ppc64le"}, t.TempDir()); err != nil ||
		len(names) != 1 {
		t.Errorf("installed %v, %v", names, err)
	}
}

// TestOnlyDropsWhatNoLongerHolds: a change of anything that a kept container depends on makes it
// go, and the report says so.
func TestOnlyDropsWhatNoLongerHolds(t *testing.T) {
	for name, change := range map[string]func(f *packageDir){
		"source": func(f *packageDir) {
			f.write("toy_livepatch1.c", "int toy_add_lp(int a, int b) { return a + b + 7; }\n")
		},
		"description": func(f *packageDir) {
			f.write("toy_livepatch1.in", "! new\nlibtoy_{version}-{release}_livepatch1.so\n"+
				"@{library}\ntoy_add:toy_add_lp\n")
		},
		"flags": func(f *packageDir) {
			f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: [-DX]")
		},
		"exports": func(f *packageDir) { f.lock.Builds[0].Exports = nil },
		"object": func(f *packageDir) {
			os.RemoveAll(filepath.Join(f.dir, config.BuildDir, compile.Dir))
		},
		"catalogue": func(f *packageDir) {
			os.RemoveAll(filepath.Join(f.dir, "catalogue/ppc64le"))
		},
		"container": func(f *packageDir) {
			f.write("build/ppc64le/libtoy_1.0-1_livepatch1.so", "damaged")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := twoArchitectures(t)
			f.mustBuild()
			change(f)
			if r, err := f.buildOnly("x86_64"); err != nil || len(r.Cells) != 1 {
				t.Fatalf("%v: %s", err, reasonText(r))
			}
			cells, text := f.written()
			if d := cmp.Diff(map[string]Status{"x86_64": Built, "ppc64le": Failed},
				cells); d != "" || !strings.Contains(text, `"not-built"`) {
				t.Errorf("cells (-want +got):\n%s\n%s", d, text)
			}
			if _, err := os.Stat(
				filepath.Join(f.dir, "build/ppc64le/libtoy_1.0-1_livepatch1.so")); !errors.Is(
				err, os.ErrNotExist) {
				t.Errorf("the container of the other architecture is still there: %v", err)
			}
			c, err := config.Load(f.dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Install(c, []symtab.Arch{"ppc64le"},
				t.TempDir()); !errors.Is(err, ErrRefused) {
				t.Errorf("installing what was dropped: %v", err)
			}
			if _, err := Install(c, []symtab.Arch{"x86_64"}, t.TempDir()); err != nil {
				t.Errorf("installing what is there: %v", err)
			}
		})
	}
}

// TestOnlyFromNothing: the report of a first build for one architecture does not speak of the
// others.
func TestOnlyFromNothing(t *testing.T) {
	f := twoArchitectures(t)
	if _, err := f.buildOnly("x86_64"); err != nil {
		t.Fatal(err)
	}
	cells, _ := f.written()
	if d := cmp.Diff(map[string]Status{"x86_64": Built}, cells); d != "" {
		t.Errorf("cells (-want +got):\n%s", d)
	}
	before := snapshot(t, filepath.Join(f.dir, config.BuildDir))
	if _, err := f.buildOnly("x86_64"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before, snapshot(t, filepath.Join(f.dir, config.BuildDir))); d != "" {
		t.Errorf("the second run wrote something:\n%s", d)
	}
}

// TestOnlyKeepsRefusals: a refusal of another architecture stays in the report, and is no failure
// of this run.
func TestOnlyKeepsRefusals(t *testing.T) {
	f := twoArchitectures(t)
	f.write("toy_livepatch1.c", "#ifdef __powerpc64__\nint gone(int);\n#define toy_more(a) "+
		"gone(a)\n#else\n#define toy_more(a) a\n#endif\n"+
		"int toy_add_lp(int a, int b) { return toy_more(a) + b; }\n")
	if _, err := f.build(); !errors.Is(err, ErrRefused) {
		t.Fatalf("error is %v", err)
	}
	_, before := f.written()
	if r, err := f.buildOnly("x86_64"); err != nil || len(r.Cells) != 1 {
		t.Errorf("%v: %s", err, reasonText(r))
	}
	if _, after := f.written(); after != before {
		t.Errorf("the report changed:\n%s", cmp.Diff(before, after))
	}
}

// TestOnlyKeepsInputs: what only the other architecture's source includes still belongs to the
// source package.
func TestOnlyKeepsInputs(t *testing.T) {
	f := twoArchitectures(t)
	f.write("toy_livepatch1.c", "#ifdef __powerpc64__\n#include \"power.h\"\n#endif\nint "+
		"toy_add_lp(int a, int b) { return a + b; }\n")
	f.write("power.h", "")
	f.mustBuild()
	r, err := f.buildOnly("x86_64")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"power.h", "toy_livepatch1.c"}, r.Inputs); d != "" {
		t.Errorf("inputs (-want +got):\n%s", d)
	}
}
