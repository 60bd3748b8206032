package buildmatrix

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestBuild makes a container for each build, with the metadata of exactly that build, from one
// compiler run.
func TestBuild(t *testing.T) {
	f := newPackage(t, "1.0-150300.9.12.1", "1.0-150300.26.5", "2.0-150600.14_1")
	r := f.mustBuild()
	var names []string
	for i, c := range r.Cells {
		names = append(names, c.Container)
		if !c.Fresh {
			t.Errorf("%s is not fresh", c.Container)
		}
		container := f.container(c)
		data, ok := container.Section(".ulp")
		if !ok {
			t.Fatalf("%s has no .ulp section", c.Container)
		}
		m, err := ulp.ParseMetadata(data)
		if err != nil {
			t.Fatal(err)
		}
		lib, err := symtab.ParseLibrary(image(t, i+1, "x86_64"), nil, "libtoy.so.1")
		if err != nil {
			t.Fatal(err)
		}
		old, _ := lib.Lookup("toy_add")
		want := []ulp.Function{{Old: "toy_add", New: "toy_add_lp", OldValue: old.Value}}
		if d := cmp.Diff(want, m.Functions); d != "" {
			t.Errorf("%s functions (-want +got):\n%s", c.Container, d)
		}
		if d := cmp.Diff(ulp.Target{BuildID: lib.BuildID, Name: "libtoy.so.1"}, m.Target); d != "" {
			t.Errorf("%s target (-want +got):\n%s", c.Container, d)
		}
		if comments, _ := container.Section(".ulp.comments"); !strings.Contains(string(comments),
			"CVE-2026-0001") {
			t.Errorf("%s comments are %q", c.Container, comments)
		}
		info, err := os.Stat(filepath.Join(f.dir, config.BuildDir, c.Arch, c.Container))
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: mode %v, %v; want 0755", c.Container, info.Mode(), err)
		}
		if container.SONAME != "" {
			t.Errorf("%s has SONAME %q: RPM would provide that instead of the file's name",
				c.Container, container.SONAME)
		}
	}
	want := []string{
		"libtoy_1.0-150300.9.12.1_livepatch1.so", "libtoy_1.0-150300.26.5_livepatch1.so",
		"libtoy_2.0-150600.14_1_livepatch1.so",
	}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("containers (-want +got):\n%s", d)
	}
	if r.CompilerRuns > 3 { // preprocess, version, compile
		t.Errorf("%d compiler runs for three builds of one source, want at most 3", r.CompilerRuns)
	}
	if d := cmp.Diff([]string{"toy_livepatch1.c"}, r.Inputs); d != "" {
		t.Errorf("inputs (-want +got):\n%s", d)
	}
}

// snapshot returns every file below a directory with its time of change.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err == nil {
			files[name] = info.ModTime().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestSecondRunDoesNothing(t *testing.T) {
	runs := loggingCompiler(t)
	f := newPackage(t, "1.0-1", "1.0-2")
	first := f.mustBuild()
	before, ran := snapshot(t, filepath.Join(f.dir, config.BuildDir)), len(runs())
	second := f.mustBuild()
	if len(runs()) != ran || second.CompilerRuns != 0 {
		t.Errorf("the second run started the compiler %d times", len(runs())-ran)
	}
	if d := cmp.Diff(before, snapshot(t, filepath.Join(f.dir, config.BuildDir))); d != "" {
		t.Errorf("the second run wrote something:\n%s", d)
	}
	for i := range first.Cells {
		if first.Cells[i].Digest != second.Cells[i].Digest || second.Cells[i].Fresh {
			t.Errorf("cell %d: %+v", i, second.Cells[i])
		}
	}
}

// TestChangesAreNoticed changes one input after the other: each must reach the containers, and
// nothing else may be redone.
func TestChangesAreNoticed(t *testing.T) {
	f := newPackage(t, "1.0-1", "1.0-2")
	f.write("toy_livepatch1.c", "#include \"add.h\"\nint toy_add_lp(int a, int b) { return a + b "+
		"+ ADDEND; }\n")
	f.write("add.h", "#define ADDEND 1\n")
	base := f.mustBuild()
	if d := cmp.Diff([]string{"add.h", "toy_livepatch1.c"}, base.Inputs); d != "" {
		t.Errorf("inputs (-want +got):\n%s", d)
	}
	changes := []struct {
		name   string
		change func()
		fresh  int
	}{
		{"header", func() { f.write("add.h", "#define ADDEND 2\n") }, 2},
		{"flags", func() {
			f.edit("sources: [toy_livepatch1.c]",
				"sources: [toy_livepatch1.c]\n    cflags: [-O1, -DX]")
		}, 2},
		{"description", func() {
			f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
				"toy_sub:toy_add_lp\n")
		}, 2},
		{"damaged container", func() {
			f.write("build/x86_64/libtoy_1.0-2_livepatch1.so", "damaged")
		}, 1},
		{"missing container", func() {
			os.Remove(filepath.Join(f.dir, "build/x86_64/libtoy_1.0-1_livepatch1.so"))
		}, 1},
		{"nothing", func() {}, 0},
	}
	for _, c := range changes {
		c.change()
		r := f.mustBuild()
		fresh := 0
		for i := range r.Cells {
			if r.Cells[i].Fresh {
				fresh++
			}
			if f.container(r.Cells[i]); r.Cells[i].Digest.IsZero() {
				t.Errorf("%s: no digest", c.name)
			}
		}
		if fresh != c.fresh {
			t.Errorf("after a change of %s %d cells are fresh, want %d", c.name, fresh, c.fresh)
		}
	}
}

// TestRefused makes what cannot work and wants the reason; the other cells are built.
func TestRefused(t *testing.T) {
	good := "int toy_add_lp(int a, int b) { return a + b; }\n"
	tests := map[string]struct {
		description, source, cflags string
		code, message               string
		status                      Status
		containers                  int // of the three builds
	}{
		"absent function": {"toy_abs:toy_add_lp", good, "", "no-symbol", "toy_abs", Refused, 0},
		"absent replacement": {"toy_add:toy_ad_lp", good, "", "no-symbol", "toy_ad_lp", Refused,
			0},
		"IFUNC":            {"toy_max:toy_add_lp", good, "", "ifunc", "toy_max", Refused, 0},
		"resolver by name": {"resolve:toy_add_lp", good, "", "ifunc", "resolve", Refused, 0},
		"not patchable": {"toy_bare:toy_add_lp", good, "", "not-patchable", "toy_bare",
			Refused, 0},
		"variable": {"toy_table:toy_add_lp", good, "", "not-a-function", "toy_table",
			Refused, 0},
		"twice": {"toy_add:toy_add_lp\ntoy_add:toy_add_lp", good, "", "duplicate",
			"toy_add", Refused, 0},
		"pattern unmatched": {"__toy_min_*:toy_add_lp", good, "", "bad-pattern", "__toy_min_*",
			Refused, 0},
		"undefined symbol": {"toy_add:toy_add_lp", "int gone(int); int toy_add_lp(int a, int " +
			"b) { return gone(a); }\n", "", "undefined-symbol", "gone", Refused, 0},
		"text relocations": {"toy_add:toy_add_lp", "int toy_add_lp(int, int);\n" +
			"__asm__(\".globl toy_add_lp\\n.type toy_add_lp,@function\\ntoy_add_lp: movabs " +
			"$toy_add_lp, %rax\\nret\\n.size toy_add_lp,.-toy_add_lp\\n\");\n", "-Wl,-z,notext",
			"text-relocations", "text relocations", Refused, 0},
		"executable stack": {"toy_add:toy_add_lp", good, "-Wl,-z,execstack", "executable-stack",
			"executable stack", Refused, 0},
		"does not compile": {"toy_add:toy_add_lp",
			"int toy_add_lp(int a, int b) { return a + ; }\n", "", "compiler",
			"toy_livepatch1.c:1:43: error", Failed, 0},
		"syntax": {"toy_add", good, "", "syntax", "name of the replacement", Refused,
			0},
		"only in newer build": {"toy_new:toy_add_lp", good, "", "no-symbol", "toy_new", Refused, 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "2.0-1", "3.0-1")
			f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
				tc.description+"\n")
			f.write("toy_livepatch1.c", tc.source)
			if tc.cflags != "" {
				f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: ['"+
					tc.cflags+"']")
			}
			r, err := f.build()
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("error is %v, want ErrRefused", err)
			}
			c := r.Cells[0]
			if c.Status != tc.status || c.Container != "" || len(c.Reasons) == 0 {
				t.Fatalf("the first cell is %+v", c)
			}
			if !strings.Contains(c.Reasons[0].Message, tc.message) || tc.code != "" &&
				c.Reasons[0].Code != tc.code {
				t.Errorf("reason is %s: %s; want %s: … %s …", c.Reasons[0].Code,
					c.Reasons[0].Message, tc.code, tc.message)
			}
			if n := len(r.Containers()); n != tc.containers {
				t.Errorf("%d containers, want %d:\n%s", n, tc.containers, reasonText(r))
			}
			files, _ := filepath.Glob(filepath.Join(f.dir, config.BuildDir, "x86_64", "*.so"))
			if len(files) != tc.containers {
				t.Errorf("%d container files, want %d", len(files), tc.containers)
			}
		})
	}
}

// TestRefusedIFUNCNamesImplementations wants to be told what to patch instead.
func TestRefusedIFUNCNamesImplementations(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
		"toy_max:toy_add_lp\n")
	r, _ := f.build()
	hint := r.Cells[0].Reasons[0].Hint
	for _, want := range []string{"__toy_max_plain", "__toy_max_fast"} {
		if !strings.Contains(hint, want) {
			t.Errorf("the hint %q does not name %s", hint, want)
		}
	}
	if strings.Contains(hint, "_chk_") {
		t.Errorf("the hint %q names a checking variant", hint)
	}
}

// TestPattern expands a pattern per build: never the checking variants, never the IFUNC itself.
func TestPattern(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
		"__toy_max_*:toy_add_lp\n")
	r := f.mustBuild()
	got := slices.Sorted(slices.Values(r.Cells[0].Functions))
	if d := cmp.Diff([]string{"__toy_max_fast", "__toy_max_plain"}, got); d != "" {
		t.Errorf("functions (-want +got):\n%s", d)
	}
	if n := r.Cells[0].Notes; codesOf(n) != "pattern" ||
		n[0].Message != "__toy_max_* stands for __toy_max_fast, __toy_max_plain" {
		t.Errorf("notes: %+v", n)
	}
}

// TestMatrix has two patches, one of them for a range of versions only.
func TestMatrix(t *testing.T) {
	f := newPackage(t, "1.0-1", "2.0-1", "3.0-1")
	f.edit("packages: [{name: toy}]", "packages: [{name: toy, builds: '< 3'}]")
	f.edit("  - library: libtoy.so.1", `  - library: libtoy.so.1
    description: second.in
    sources: [toy_livepatch1.c]
    builds: ">= 2"
  - library: libtoy.so.1`)
	f.write("second.in", "libtoy_{version}-{release}_livepatch2.so\n@{library}\n"+
		"toy_sub:toy_add_lp\n")
	r := f.mustBuild()
	var got []string
	for _, c := range r.Cells {
		got = append(got, c.Container)
	}
	want := []string{"libtoy_2.0-1_livepatch2.so", "libtoy_1.0-1_livepatch1.so",
		"libtoy_2.0-1_livepatch1.so"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("cells (-want +got):\n%s", d)
	}
}

// TestStaleContainersGo removes what a former build made and this one does not.
func TestStaleContainersGo(t *testing.T) {
	f := newPackage(t, "1.0-1", "2.0-1")
	f.mustBuild()
	f.write("build/x86_64/mine.so", "somebody else's")
	f.edit("packages: [{name: toy}]", "packages: [{name: toy, builds: '< 2'}]")
	f.mustBuild()
	left, _ := filepath.Glob(filepath.Join(f.dir, config.BuildDir, "x86_64", "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if d := cmp.Diff([]string{"libtoy_1.0-1_livepatch1.so", "mine.so"}, left); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
}

// TestDamagedCatalogue stops the build: nothing can be judged by a catalogue that is not the pinned
// one.
func TestDamagedCatalogue(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.write(f.lock.Builds[0].Libraries[0].Catalogue, "{}")
	if _, err := f.build(); !errors.Is(err, digest.ErrMismatch) {
		t.Errorf("error is %v, want a digest mismatch", err)
	}
}

// TestOnlyOneArchitecture leaves the containers of the others alone, and works without their
// compiler.
func TestOnlyOneArchitecture(t *testing.T) {
	f := newPackage(t)
	f.addBuild("1.0-1", "ppc64le", 1)
	f.addBuild("1.0-1", "x86_64", 1)
	f.edit("arch: [x86_64]", "arch: [x86_64, ppc64le]")
	f.mustBuild()
	t.Setenv("LPBUILD_CC_PPC64LE", "no-such-compiler")
	c, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Build(t.Context(), c, f.lock, Options{Only: []symtab.Arch{"x86_64"}})
	if err != nil || len(r.Cells) != 1 || r.Cells[0].Arch != "x86_64" {
		t.Fatalf("%v: %s", err, reasonText(r))
	}
	left, _ := filepath.Glob(filepath.Join(f.dir, config.BuildDir, "ppc64le", "*.so"))
	if len(left) != 1 {
		t.Errorf("the other architecture has %v", left)
	}
}

// TestMadeAfterKill names what a killed compiler run left, so that clean can remove it.
func TestMadeAfterKill(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.mustBuild()
	f.write("build/.objects/.compile-123/container.so", "half")
	c, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	names, err := Made(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		_ = os.Remove(name)
	}
	if _, err := os.Stat(filepath.Join(f.dir, config.BuildDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the build directory is still there: %v",
			snapshot(t, filepath.Join(f.dir, config.BuildDir)))
	}
}

// TestPatchWithoutBuilds is refused, not left out: its fix would be missing from the package.
func TestPatchWithoutBuilds(t *testing.T) {
	for name, change := range map[string]func(*packageDir){
		"range that nothing fits": func(f *packageDir) {
			f.edit("    sources: [toy", "    builds: '> 9'\n    sources: [toy")
		},
		"library that nothing contains": func(f *packageDir) {
			f.edit("library: libtoy.so.1", "library: libtoy.so.2")
		},
		"architecture that nothing is for": func(f *packageDir) {
			f.edit("arch: [x86_64]", "arch: [x86_64, aarch64]")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.edit("patches:", "patches:\n  - {library: libtoy.so.1, description: other.in, "+
				"sources: [toy_livepatch1.c]}")
			f.write("other.in", "libtoy_{version}-{release}_livepatch2.so\n@{library}\n"+
				"toy_sub:toy_add_lp\n")
			change(f)
			r, err := f.build()
			if !errors.Is(err, ErrRefused) || !strings.Contains(reasonText(r), "no-build: ") ||
				len(r.Containers()) == 0 {
				t.Errorf("%v: %s", err, reasonText(r))
			}
		})
	}
}

// TestGateAlwaysRuns: a container that is there does not stand for a verdict.
func TestGateAlwaysRuns(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.mustBuild()
	f.lock.Builds[0].Exports = nil
	f.write("toy_livepatch1.c", "int hidden(int); int toy_add_lp(int a, int b) { return "+
		"hidden(a); }\n")
	if r, err := f.build(); !errors.Is(err, ErrRefused) {
		t.Errorf("%v: %s", err, reasonText(r))
	}
	if left, _ := filepath.Glob(filepath.Join(f.dir, config.BuildDir, "x86_64",
		"*.so")); len(left) != 0 {
		t.Errorf("the refused container is still there: %v", left)
	}
}

// TestInstallRefuses what would end up in one place, or is of another version.
func TestInstallRefuses(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.mustBuild()
	c, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if _, err := Install(c, []symtab.Arch{"x86_64", "ppc64le"}, root); err == nil {
		t.Error("two architectures were installed over each other")
	}
	c.Version = "2"
	if _, err := Install(c, nil, root); err == nil {
		t.Error("the build of another version was installed")
	}
	if entries, _ := os.ReadDir(root); len(entries) != 0 {
		t.Errorf("something was installed: %v", entries)
	}
}

// TestInstallWhole installs all containers or none: if the last one is not what was built, or if
// its place is taken.
func TestInstallWhole(t *testing.T) {
	f := newPackage(t, "1.0-1", "2.0-1")
	f.mustBuild()
	c, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	last := "libtoy_2.0-1_livepatch1.so"
	root := t.TempDir()
	put(t, filepath.Join(root, InstallDir(c), last, "inside"), "")
	if names, err := Install(c, nil, root); err == nil || names != nil ||
		!strings.Contains(err.Error(), last) {
		t.Errorf("over a directory: %q, %v", names, err)
	}
	f.write(filepath.Join(config.BuildDir, "x86_64", last), "damaged")
	if names, err := Install(c, nil, root); !errors.Is(err, ErrStale) || names != nil ||
		!strings.Contains(err.Error(), "run lpbuild build") {
		t.Errorf("damaged: %q, %v", names, err)
	}
	if entries, err := os.ReadDir(filepath.Join(root, InstallDir(c))); err != nil ||
		len(entries) != 1 {
		t.Errorf("left: %v (%v)", entries, err)
	}
}

// TestOneCatalogueNameTwice: two libraries of one base name have catalogues of their own, whatever
// the files are called.
func TestOneCatalogueNameTwice(t *testing.T) {
	f := newPackage(t, "1.0-1", "2.0-1")
	same := f.lock.Builds[0].Libraries[0]
	c, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	m := newMatrix(c, f.lock, Options{})
	if _, err := m.library(&same); err != nil {
		t.Fatal(err)
	}
	same.Pinned = f.lock.Builds[1].Libraries[0].Pinned
	if _, err := m.library(&same); !errors.Is(err, digest.ErrMismatch) {
		t.Errorf("another digest under the same name gave %v, want a mismatch", err)
	}
}

// put writes a file, and the directories on its way.
func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
