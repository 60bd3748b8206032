package buildmatrix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// TestSourceAsksForBuild compiles as often as the code differs, and no more.
func TestSourceAsksForBuild(t *testing.T) {
	tests := map[string]struct {
		source  string
		objects int
	}{
		"release": {"const char *toy_rel(void); int toy_add_lp(int a, int b) { return a + b + " +
			"sizeof LPBUILD_RELEASE + LPBUILD_RELEASE[0]; }", 2},
		"version string": {"int toy_add_lp(int a, int b) { return a + b + LPBUILD_VERSION[2]; }",
			2},
		"minor": {"#if LPBUILD_VERSION_MAJOR == 1 && LPBUILD_VERSION_MINOR < 1\n" +
			"#define N 1\n#else\n#define N 2\n#endif\nint toy_add_lp(int a, int b) { return N; }",
			2},
		"major only": {"int toy_add_lp(int a, int b) { return LPBUILD_VERSION_MAJOR; }", 1},
		"test of defined": {"#ifdef LPBUILD_RELEASE\nint toy_add_lp(int a, int b) { return 1; }\n" +
			"#endif", 1},
		"not at all": {"/* LPBUILD_RELEASE */ int toy_add_lp(int a, int b) { return 1; }", 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "1.0-1.1", "1.1-31")
			f.write("toy_livepatch1.c", tc.source)
			r := f.mustBuild()
			found, err := filepath.Glob(filepath.Join(f.dir, config.BuildDir, compile.Dir, "*.so"))
			if err != nil {
				t.Fatal(err)
			}
			if len(found) < tc.objects || len(found) > tc.objects+1 {
				t.Errorf("%d objects, want %d", len(found), tc.objects)
			}
			if again := f.mustBuild(); again.CompilerRuns != 0 {
				t.Errorf("%d compiler runs with nothing changed", again.CompilerRuns)
			}
			if len(r.Containers()) != 3 {
				t.Errorf("%d containers", len(r.Containers()))
			}
		})
	}
}

// TestReproducible builds the same in two directories: every container has the same bytes.
func TestReproducible(t *testing.T) {
	digests := func() []digest.Digest {
		f := newPackage(t, "1.0-1", "1.0-2")
		f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: [-g]")
		f.write("toy_livepatch1.c", "const char *toy_where = __FILE__ __DATE__ __TIME__;\nint "+
			"toy_add_lp(int a, int b) { return a + b + toy_where[0]; }\n")
		var all []digest.Digest
		for _, c := range f.mustBuild().Cells {
			all = append(all, c.Digest)
		}
		return all
	}
	if d := cmp.Diff(digests(), digests()); d != "" {
		t.Errorf("the directory is in the containers:\n%s", d)
	}
}

func TestCrossCompiled(t *testing.T) {
	f := newPackage(t)
	f.addBuild("1.0-1", "ppc64le", 1)
	f.addBuild("1.0-1", "x86_64", 1)
	f.edit("arch: [x86_64]", "arch: [x86_64, ppc64le]")
	r := f.mustBuild()
	for _, c := range r.Cells {
		if got := f.container(c).Arch; string(got) != c.Arch {
			t.Errorf("container of %s is for %s", c.Arch, got)
		}
	}
	if len(r.Cells) != 2 {
		t.Errorf("%d cells, want 2", len(r.Cells))
	}
}

func TestNoCompiler(t *testing.T) {
	t.Setenv("LPBUILD_CC_X86_64", "no-such-compiler")
	f := newPackage(t, "1.0-1")
	r, err := f.build()
	if !errors.Is(err, ErrRefused) || r.Cells[0].Status != Failed ||
		r.Cells[0].Reasons[0].Code != "no-compiler" {
		t.Errorf("%v: %s", err, reasonText(r))
	}
}

// TestLinkerInputsAreNoticed: a version script is read by the linker alone. It belongs to the
// inputs, and a change of it reaches the containers.
func TestLinkerInputsAreNoticed(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: "+
		"['-Wl,--version-script=lp.map']")
	f.write("lp.map", "{ global: toy_add_lp; local: *; };\n")
	f.write("toy_livepatch1.c", "int toy_other(int a) { return a; }\nint toy_add_lp(int a, int "+
		"b) { return a + b; }\n")
	r := f.mustBuild()
	if d := cmp.Diff([]string{"lp.map", "toy_livepatch1.c"}, r.Inputs); d != "" {
		t.Errorf("inputs (-want +got):\n%s", d)
	}
	exported := func() bool {
		for s := range f.container(f.mustBuild().Cells[0]).Symbols() {
			if s.Name == "toy_other" && s.Dynamic {
				return true
			}
		}
		return false
	}
	if exported() {
		t.Error("the version script was not used")
	}
	f.write("lp.map", "{ global: toy_*; local: *; };\n")
	if !exported() {
		t.Error("the change of the version script did not reach the container")
	}
}

// TestEnvironmentDoesNotMatter keeps the engineer's search paths out of the code.
func TestEnvironmentDoesNotMatter(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "string.h"), "#error wrong header\n")
	t.Setenv("CPATH", dir)
	t.Setenv("C_INCLUDE_PATH", dir)
	f := newPackage(t, "1.0-1")
	f.write("toy_livepatch1.c", "#include <string.h>\nint toy_add_lp(int a, int b) { return a + "+
		"b; }\n")
	f.mustBuild()
}

// TestCancelled ends a compiler that hangs, and leaves no report.
func TestCancelled(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "gcc"), "#!/bin/sh\nsleep 60\n")
	if err := os.Chmod(filepath.Join(dir, "gcc"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LPBUILD_CC_X86_64", filepath.Join(dir, "gcc"))
	f := newPackage(t, "1.0-1")
	c, err := config.Load(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Build(ctx, c, f.lock, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, config.BuildDir, ReportName)); err == nil {
		t.Error("a report was written")
	}
}

// loggingCompiler makes the matrix use a compiler that notes its arguments, and returns them, a
// line for each run.
func loggingCompiler(t *testing.T) func() []string {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "runs")
	put(t, filepath.Join(dir, "gcc"), "#!/bin/sh\necho \"$@\" >> "+log+"\nexec gcc \"$@\"\n")
	if err := os.Chmod(filepath.Join(dir, "gcc"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LPBUILD_CC_X86_64", filepath.Join(dir, "gcc"))
	return func() []string {
		data, _ := os.ReadFile(log)
		return strings.Split(strings.TrimSpace(string(data)), "\n")
	}
}

// TestFortyBuildsCompileOnce: forty builds of one patch cost one compilation, beside a look at what
// the source asks for and one at the compiler.
func TestFortyBuildsCompileOnce(t *testing.T) {
	runs := loggingCompiler(t)
	var versions []string
	for i := range 40 {
		versions = append(versions, fmt.Sprintf("1.0-%d.1", i+1))
	}
	f := newPackage(t)
	for _, v := range versions {
		f.addBuild(v, "x86_64", 1)
	}
	if n := len(f.mustBuild().Containers()); n != 40 {
		t.Fatalf("%d containers, want 40", n)
	}
	compilations := slices.DeleteFunc(runs(), func(args string) bool {
		return slices.Contains(strings.Fields(args), "-E")
	})
	if len(compilations) != 1 || len(runs()) != 3 {
		t.Errorf("the compiler ran %d times, %d of them to compile:\n%s", len(runs()),
			len(compilations), strings.Join(runs(), "\n"))
	}
	f.addBuild("1.0-41.1", "x86_64", 2)
	if n := len(f.mustBuild().Containers()); n != 41 || len(runs()) != 3 {
		t.Errorf("%d containers after one more build, and the compiler ran %d times", n,
			len(runs()))
	}
}

// TestSameSourcesTwice: two patches with the same sources and flags are compiled once.
func TestSameSourcesTwice(t *testing.T) {
	runs := loggingCompiler(t)
	f := newPackage(t, "1.0-1")
	f.secondPatch("libtoy_{version}-{release}_livepatch2.so\n@{library}\ntoy_sub:toy_add_lp\n", "")
	if n := len(f.mustBuild().Containers()); n != 2 || len(runs()) != 3 {
		t.Errorf("%d containers, and the compiler ran %d times", n, len(runs()))
	}
}
