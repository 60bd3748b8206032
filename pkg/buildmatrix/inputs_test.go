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
)

// value returns what the read-only variable toy_value of the first container holds, as text.
func (f *packageDir) value() string {
	f.t.Helper()
	c := f.container(f.mustBuild().Cells[0])
	data, ok := c.Section(".toy")
	if !ok {
		f.t.Fatal("the container has no section .toy")
	}
	return strings.TrimRight(string(data), "\x00\n")
}

const replacement = "int toy_add_lp(int a, int b) { return a + b; }\n"

// TestFilesOfTheAssembler: what only the assembler reads belongs to the inputs, and a change of it
// reaches the container.
func TestFilesOfTheAssembler(t *testing.T) {
	const section = ".section .toy,\\\"a\\\"\\n"
	tests := map[string]struct {
		source, text string // name and content of a second source
		flags        string
		inputs       []string
	}{
		".incbin in C": {"two.c", "__asm__(\"" + section +
			".incbin \\\"my data.bin\\\"\\n.text\\n\");\n", "", []string{"my data.bin"}},
		".include in C": {"two.c", "__asm__(\"" + section +
			".include \\\"inc/part.s\\\"\\n.text\\n\");\n", "",
			[]string{"inc/part.s", "my data.bin"}},
		".incbin in assembly": {"two.s", ".section .toy,\"a\"\n.incbin \"my data.bin\"\n.section " +
			".note.GNU-stack,\"\",@progbits\n", "", []string{"my data.bin"}},
		"from a directory of -I": {"two.S", ".section .toy,\"a\"\n.include \"part.s\"\n.section " +
			".note.GNU-stack,\"\",@progbits\n", "-Iinc", []string{"inc/part.s", "my data.bin"}},
		"with -flto": {"two.c", "__asm__(\"" + section +
			".incbin \\\"my data.bin\\\"\\n.text\\n\");\n", "-flto", []string{"my data.bin"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			cflags := ""
			if tc.flags != "" {
				cflags = "\n    cflags: [" + tc.flags + "]"
			}
			f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c, "+tc.source+"]"+
				cflags)
			f.write("toy_livepatch1.c", replacement)
			f.write(tc.source, tc.text)
			f.write("inc/part.s", ".incbin \"my data.bin\"\n")
			f.write("my data.bin", "first")
			if got := f.value(); got != "first" {
				t.Errorf("the section holds %q", got)
			}
			want := slices.Sorted(slices.Values(append([]string{"toy_livepatch1.c", tc.source},
				tc.inputs...)))
			if d := cmp.Diff(want, f.mustBuild().Inputs); d != "" {
				t.Errorf("inputs (-want +got):\n%s", d)
			}
			f.write("my data.bin", "other")
			if got := f.value(); got != "other" {
				t.Errorf("after the change the section holds %q", got)
			}
			if r := f.mustBuild(); r.CompilerRuns != 0 {
				t.Errorf("%d compiler runs with nothing changed", r.CompilerRuns)
			}
		})
	}
}

// TestNewHeaderIsNoticed: a header that appears where the compiler looks first is read from then
// on.
func TestNewHeaderIsNoticed(t *testing.T) {
	const asks = "#if __has_include(\"extra.h\")\n#define VALUE \"extra\"\n#else\n#include " +
		"\"value.h\"\n#endif\n"
	tests := map[string]struct {
		include, flags, appears string
		want                    string
	}{
		"beside the source":       {"#include \"value.h\"\n", "-Ione, -Itwo", "value.h", "new"},
		"in an earlier directory": {"#include <value.h>\n", "-Ione, -Itwo", "one/value.h", "new"},
		"in a directory not there yet": {"#include <value.h>\n", "-Inone, -Itwo", "none/value.h",
			"new"},
		"below a directory": {"#include <sub/value.h>\n", "-Ione, -Itwo", "one/sub/value.h",
			"new"},
		"instead of the system's": {"#include <string.h>\n#include \"value.h\"\n",
			"-isystem, one, -Itwo", "one/string.h", "new"},
		"that was asked for":   {asks, "-Itwo", "extra.h", "extra"},
		"in a later directory": {"#include <value.h>\n", "-Itwo, -Ithree", "three/value.h", "old"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: ["+
				tc.flags+"]")
			f.write("toy_livepatch1.c", tc.include+"__attribute__((section(\".toy\"), used)) "+
				"static const char toy_value[] = VALUE;\n"+replacement)
			f.write("one/other.h", "")
			f.write("two/value.h", "#ifndef VALUE\n#define VALUE \"old\"\n#endif\n")
			f.write("two/sub/value.h", "#define VALUE \"old\"\n")
			if got := f.value(); got != "old" {
				t.Fatalf("the value is %q", got)
			}
			f.write(tc.appears, "#define VALUE \"new\"\n")
			if got := f.value(); got != tc.want {
				t.Errorf("after %s appeared the value is %q, want %q", tc.appears, got, tc.want)
			}
		})
	}
}

// TestNewLibraryIsNoticed: the linker takes the first library of a name.
func TestNewLibraryIsNoticed(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: [-Lnone, "+
		"-lm, '-Wl,--as-needed']")
	f.mustBuild()
	f.write("none/libm.so", "not a library\n")
	if r, err := f.build(); !errors.Is(err, ErrRefused) || r.Cells[0].Status != Failed {
		t.Errorf("the new library was not seen: %v", err)
	}
}

// wrapper names a script as the compiler that runs what the link "real" points to.
func wrapper(t *testing.T) (real string) {
	t.Helper()
	dir := t.TempDir()
	real = filepath.Join(dir, "bin", "real-gcc")
	put(t, filepath.Join(dir, "cc"), "#!/bin/sh\nexec real-gcc \"$@\"\n")
	if err := errors.Join(os.Chmod(filepath.Join(dir, "cc"), 0o755),
		os.MkdirAll(filepath.Dir(real), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Dir(real)+":"+os.Getenv("PATH"))
	t.Setenv("LPBUILD_CC_X86_64", filepath.Join(dir, "cc"))
	return real
}

// TestCompilerBehindWrapper: another compiler behind the same script is another compiler.
func TestCompilerBehindWrapper(t *testing.T) {
	real := wrapper(t)
	if err := os.Symlink("/usr/bin/gcc", real); err != nil {
		t.Fatal(err)
	}
	f := newPackage(t, "1.0-1")
	f.write("toy_livepatch1.c", "#ifndef VALUE\n#define VALUE \"old\"\n#endif\n"+
		"__attribute__((section(\".toy\"), used)) static const char toy_value[] = VALUE;\n"+
		replacement)
	if got := f.value(); got != "old" {
		t.Fatalf("the value is %q", got)
	}
	if r := f.mustBuild(); r.CompilerRuns != 0 {
		t.Fatalf("%d compiler runs with nothing changed", r.CompilerRuns)
	}
	if err := os.Remove(real); err != nil {
		t.Fatal(err)
	}
	put(t, real, "#!/bin/sh\nexec gcc '-DVALUE=\"new\"' \"$@\"\n")
	if err := os.Chmod(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := f.value(); got != "new" {
		t.Errorf("behind the wrapper is another compiler now, but the value is %q", got)
	}
}

// TestPathIsPartOfTheCompiler: a script finds its compiler in $PATH.
func TestPathIsPartOfTheCompiler(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.mustBuild()
	t.Setenv("PATH", t.TempDir()+":"+os.Getenv("PATH"))
	if r := f.mustBuild(); r.CompilerRuns == 0 {
		t.Error("$PATH leads elsewhere, but the compiler was not asked")
	}
}

// TestOutsideFiles refuses what another machine would not have, at the place where it is asked for.
func TestOutsideFiles(t *testing.T) {
	other := filepath.Join(t.TempDir(), "abs.h")
	put(t, other, "#define N 1\n")
	root := t.TempDir()
	put(t, filepath.Join(root, "usr", "include", "abs.h"), "#define N 1\n")
	tests := map[string]struct{ source, flags, where, message string }{
		"above": {"\n#include \"../above.h\"\n", "", "toy_livepatch1.c:2:10",
			"../above.h is outside of the package directory"},
		"absolute": {"#include \"" + other + "\"\n", "", "toy_livepatch1.c:1:10",
			"is named by an absolute path"},
		"in the build directory": {"#include \"build/x.h\"\n", "", "toy_livepatch1.c:1:10",
			"build/x.h lies in build"},
		"through a header": {"#include \"sub/inner.h\"\n", "", "sub/inner.h:2:10",
			"above.h is outside of the package directory"},
		"data": {"__asm__(\".incbin \\\"../above.h\\\"\");\n", "", "",
			"../above.h is outside of the package directory"},
		"system header": {"#include <string.h>\n#include \"/usr/include/stdio.h\"\n", "", "",
			""},
		"by a link": {"#include \"link/above.h\"\n", "", "toy_livepatch1.c:1:10",
			"link/above.h is outside of the package directory, by a symbolic link"},
		"by a link inside": {"#include \"inner/own.h\"\n", "", "", ""},
		"own header":       {"#include \"sub/../sub/own.h\"\n", "", "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "1.0-2")
			outer := f.dir
			f.dir = filepath.Join(outer, "package")
			if err := os.Mkdir(f.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{config.FileName, "toy_livepatch1.in", "catalogue"} {
				if err := os.Rename(filepath.Join(outer, n), filepath.Join(f.dir, n)); err != nil {
					t.Fatal(err)
				}
			}
			if tc.flags != "" {
				f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: "+
					tc.flags)
			}
			f.write("../above.h", "/* above */\n")
			f.write("../above.map", "{ global: toy_add_lp; local: *; };\n")
			f.write("build/x.h", "")
			f.write("sub/own.h", "")
			for link, to := range map[string]string{"link": "..", "inner": "sub"} {
				if err := os.Symlink(to, filepath.Join(f.dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			f.write("sub/inner.h", "\n#include \"../../above.h\"\n")
			f.write("toy_livepatch1.c", tc.source+replacement)
			r, err := f.build()
			if tc.message == "" {
				if err != nil {
					t.Errorf("%v: %s", err, reasonText(r))
				}
				return
			}
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("error is %v", err)
			}
			for _, c := range r.Cells {
				reason := c.Reasons[0]
				if c.Status != Refused || reason.Code != "outside-file" ||
					reason.Where != tc.where || !strings.Contains(reason.Message, tc.message) ||
					reason.Hint == "" {
					t.Errorf("%s: %+v", c.Status, reason)
				}
			}
		})
	}
}

// TestFailingCompilerRunsOnce per patch and architecture, not once per build.
func TestFailingCompilerRunsOnce(t *testing.T) {
	tests := map[string]struct {
		source string
		runs   int
		where  string
	}{
		"missing header": {"#include \"no.h\"\n" + replacement, 1,
			"toy_livepatch1.c:1:10"},
		"syntax": {"int toy_add_lp(int a, int b) { return a + ; }\n", 3,
			"toy_livepatch1.c:1:43"}, // preprocess, ask, compile
		"linker": {"__attribute__((visibility(\"hidden\"))) int gone(int); int toy_add_lp(int a, " +
			"int b) { return gone(a); }\n", 3, ""},
		"syntax that asks": {"int n = LPBUILD_VERSION_MAJOR; int toy_add_lp(int a, int " +
			"b) { return a + ; }\n", 2 + 3 + 1, ""}, // preprocessed for each
		"missing header, has asked": {"#if LPBUILD_VERSION_MAJOR == 1\n#endif\n#include \"no.h\"\n",
			3, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "1.0-2", "1.0-3")
			f.write("toy_livepatch1.c", tc.source)
			r, err := f.build()
			if !errors.Is(err, ErrRefused) || r.Count(Failed) != 3 {
				t.Fatalf("%v: %s", err, reasonText(r))
			}
			if r.CompilerRuns != tc.runs {
				t.Errorf("%d compiler runs, want %d", r.CompilerRuns, tc.runs)
			}
			if reason := r.Cells[2].Reasons[0]; reason.Code != "compiler" || tc.where != "" &&
				reason.Where != tc.where {
				t.Errorf("reason is %+v", reason)
			}
		})
	}
}

// TestFailsForOneBuild: a source that refuses some builds is made for the others.
func TestFailsForOneBuild(t *testing.T) {
	f := newPackage(t, "1.0-1", "2.0-1", "3.0-1")
	f.write("toy_livepatch1.c", "#if LPBUILD_VERSION_MAJOR != 2\n#error \"not for this build\"\n"+
		"#endif\n"+replacement)
	r, err := f.build()
	if !errors.Is(err, ErrRefused) || r.Count(Failed) != 2 || r.Cells[1].Status != Built {
		t.Errorf("%v: %s", err, reasonText(r))
	}
}
