package buildmatrix

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// bareSource is a library with functions that lack NOPs: toy_mul, where a jump is safe, and
// toy_bare, which is too short.
const bareSource = `
#define BARE __attribute__((patchable_function_entry(0, 0)))
int toy_add(int a, int b) { return a + b; }
BARE int toy_mul(int a, int b) { return a * b + 1000; }
BARE int toy_bare(int a) { return a; }
`

// compileBare compiles it, with NOPs for the others unless a flag says something else.
func compileBare(t *testing.T, flags ...string) []byte {
	t.Helper()
	return compileText(t, bareSource, flags...)
}

func compileText(t *testing.T, text string, flags ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "bare.c"), text)
	args := append([]string{"-O2", "-fPIC", "-shared", "-fcf-protection=none",
		"-fpatchable-function-entry=16,14", "-Wl,--build-id=sha1", "-Wl,-soname,libtoy.so.1", "-o",
		"lib.so", "bare.c"}, flags...)
	cmd := exec.Command("gcc", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "lib.so"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// setLibrary replaces the library of a build, with the proofs that download makes or without.
func (f *packageDir) setLibrary(i int, image []byte, prove bool) {
	f.t.Helper()
	parsed := f.catalogued(image, "libtoy.so.1", prove)
	lib := &f.lock.Builds[i].Libraries[0]
	catalogue := parsed.AppendCatalogue(nil)
	lib.BuildID, lib.Pinned = fmt.Sprintf("%x", parsed.BuildID), digest.OfBytes(catalogue)
	f.write(lib.Catalogue, string(catalogue))
}

// replaces makes the live patch one of some functions.
func (f *packageDir) replaces(functions ...string) {
	f.t.Helper()
	text := "! CVE-2026-0001\nlibtoy_{version}-{release}_livepatch1.so\n@{library}\n"
	for _, name := range functions {
		text += name + ":toy_add_lp\n"
	}
	f.write("toy_livepatch1.in", text)
}

func codesOf(reasons []gate.Reason) string {
	var codes []string
	for _, r := range reasons {
		codes = append(codes, r.Code)
	}
	return strings.Join(codes, " ")
}

// TestEntries builds for functions without NOPs: who can apply what, and what is refused, where and
// why.
func TestEntries(t *testing.T) {
	with, without := compileBare(t), compileBare(t, "-fpatchable-function-entry=0")
	const constructor = "__attribute__((constructor)) static void f(void) { __asm__ " +
		"volatile(\"nop\"); }\n"
	tests := map[string]struct {
		library   []byte
		entries   string // "": not in the configuration
		functions []string
		source    string // added
		engines   string // "": refused
		codes     string // of reasons or notes
		shown     []string
	}{
		"NOPs":      {with, "", []string{"toy_add"}, "", "pulp native", "", nil},
		"NOPs, any": {with, "any", []string{"toy_add"}, "", "pulp native", "", nil},
		"proven": {with, "any", []string{"toy_add", "toy_mul"}, "", "native", "no-nops",
			[]string{`"toy_mul" has no NOPs`, "only the native engine"}},
		"proven, nops": {with, "nops", []string{"toy_add", "toy_mul"}, "", "", "not-patchable",
			[]string{"toy_livepatch1.in:5:1: ", "one other function of libtoy.so.1 is patchable; " +
				"\"entries: any\""}},
		"no NOPs, nops": {without, "", []string{"toy_mul"}, "", "", "not-patchable",
			[]string{"toy_livepatch1.in:3:2: ", "\"entries: any\" (lpbuild.yaml"}},
		"no way": {without, "", []string{"toy_mul", "toy_bare"}, "", "", "not-patchable",
			[]string{"it was built without -fpatchable-function-entry\n"}},
		"no NOPs at all": {without, "any", []string{"toy_mul"}, "", "native", "no-nops", nil},
		"not proven": {without, "any", []string{"toy_mul", "toy_bare"}, "", "", "not-patchable",
			[]string{
				"toy_livepatch1.in:5:1: ", `"toy_bare" has no NOPs for a detour`,
				"not proven to be safe: the function has 3 bytes, and a jump needs 5",
				"    toy_bare:", "one other function of libtoy.so.1 is patchable\n"}},
		"no engine": {without, "any", []string{"toy_mul"}, constructor, "", "no-nops constructors",
			[]string{
				"toy_livepatch1.in:4:1: ", "only the native engine replaces it",
				"the native engine cannot load the container: it has constructors"}},
		"NOPs, former code": {with, "", []string{"toy_add"},
			"int (*lpbuild_original_toy_add)(int, int);\n", "pulp native", "", nil},
		"no NOPs, former code": {without, "any", []string{"toy_mul"},
			"int (*lpbuild_original_toy_mul)(int, int);\n", "native", "no-nops", nil},
		"libpulp only": {with, "any", []string{"toy_add"}, constructor, "pulp", "constructors",
			nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.setLibrary(0, tc.library, true)
			f.replaces(tc.functions...)
			f.write("toy_livepatch1.c", "int toy_add_lp(int a, int b) { return a + b + 1000; }\n"+
				tc.source)
			if tc.entries != "" {
				f.edit("license: MIT", "license: MIT\nentries: "+tc.entries)
			}
			r, err := f.build()
			if (err == nil) != (tc.engines != "") || err != nil && !errors.Is(err, ErrRefused) {
				t.Fatalf("%v: %s", err, reasonText(r))
			}
			c := r.Cells[0]
			found := slices.Concat(c.Reasons, c.Notes)
			if got := strings.Join(c.Engines, " "); got != tc.engines ||
				codesOf(found) != tc.codes {
				t.Errorf("engines %q with %q, want %q with %q: %s", got, codesOf(found), tc.engines,
					tc.codes, reasonText(r))
			}
			text := ""
			for _, r := range found {
				text += r.Where + " " + r.Message + "\n" + r.Shown
			}
			for _, want := range tc.shown {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in:\n%s", want, text)
				}
			}
			if tc.engines != "" {
				f.checkChoice(c, tc.entries)
			}
		})
	}
}

// checkChoice wants the container to say what the configuration does, and the native engine to
// think of it what the report says.
func (f *packageDir) checkChoice(c CellInfo, entries string) {
	f.t.Helper()
	container := f.container(c)
	p, err := container.LivePatch()
	if err != nil {
		f.t.Fatal(err)
	}
	if any := entries == "any"; any != (p.Entries == symtab.EntriesAny) {
		f.t.Errorf("the container says %q", p.Entries)
	}
	if _, err := native.NewPatch(container, c.Container); (err == nil) != slices.Contains(c.Engines,
		gate.EngineNative) {
		f.t.Errorf("the native engine says %v, the report %q", err, c.Engines)
	}
}

// TestEntriesAreSeen: another choice makes other containers.
func TestEntriesAreSeen(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.setLibrary(0, compileBare(t), true)
	first := f.mustBuild().Cells[0]
	f.edit("license: MIT", "license: MIT\nentries: any")
	second := f.mustBuild().Cells[0]
	if first.Key == second.Key || first.Digest == second.Digest || !second.Fresh {
		t.Errorf("%+v, then %+v", first, second)
	}
	f.edit("entries: any", "entries: nops")
	if third := f.mustBuild().Cells[0]; third.Digest != first.Digest || third.Key != first.Key {
		t.Errorf("%+v, then %+v", first, third)
	}
}

// TestOldCatalogue: with entries: any a catalogue without proofs is an error that says what to do;
// without it is good for libpulp.
func TestOldCatalogue(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.setLibrary(0, compileBare(t), false)
	c := f.mustBuild().Cells[0]
	if strings.Join(c.Engines, " ") != "pulp" ||
		codesOf(c.Notes) != "handlers-unknown registers-unknown" ||
		c.Notes[0].Hint != "run lpbuild download again" {
		t.Errorf("engines %q, notes %+v", c.Engines, c.Notes)
	}
	f.edit("license: MIT", "license: MIT\nentries: any")
	_, err := f.build()
	if !errors.Is(err, ErrNoProofs) || !strings.Contains(err.Error(), "libtoy.so.1.json") ||
		!strings.Contains(err.Error(), "run lpbuild download") {
		t.Errorf("error is %v", err)
	}
}

// handlingSource is a library whose first function has something to clean up when what it calls
// ends its thread.
const handlingSource = `
void toy_unlock(int *p) { *p = 0; }
int toy_call(int (*f)(int), int a)
{ __attribute__((cleanup(toy_unlock))) int locked = a; return f(locked) + locked; }
int toy_add(int a, int b) { return a * 1000 + b; }
`

// TestHandlers: functions that handle exceptions or cancellation are libpulp's, and replacements
// should handle them, too.
func TestHandlers(t *testing.T) {
	const cleans = "void toy_unlock(int *); int toy_call_lp(int (*f)(int), int a) { " +
		"__attribute__((cleanup(toy_unlock))) int l = a; return f(l) + l; }\n"
	const add = "int toy_add_lp(int a, int b) { return a + b; }\n"
	const forgets = "int toy_call_lp(int (*f)(int), int a) { return f(a) + a; }\n"
	tests := map[string]struct {
		nops             bool
		function, source string
		cflags           string
		unwinding        string
		engines, codes   string
		shown            string
	}{
		"others": {true, "toy_add", add, "-O2", "", "pulp native", "", ""},
		"handlers": {true, "toy_call", cleans, "-fexceptions", "", "pulp",
			"handlers unwinding unwinding", "processes that are started with libpulp.so"},
		"handlers are lost": {true, "toy_call", forgets, "-O2", "", "pulp",
			"handlers lost-handlers", "compile with -fexceptions"},
		"no handlers to compile": {true, "toy_call", cleans, "-O2", "", "pulp",
			"handlers lost-handlers", "\"toy_call\" has something to clean up"},
		"no engine": {false, "toy_call", forgets, "-O2", "", "",
			"no-nops handlers lost-handlers", "toy_livepatch1.in:4:1 \"toy_call\" cannot be " +
				"replaced by the native engine"},
		"says any": {true, "toy_call", forgets, "-O2", "any", "pulp",
			"handlers lost-handlers", "unwinding: none"},
		"says none":          {true, "toy_call", forgets, "-O2", "none", "pulp native", "", ""},
		"none, without NOPs": {false, "toy_call", forgets, "-O2", "none", "native", "no-nops", ""},
		"none, but cleans up": {true, "toy_call", cleans, "-fexceptions", "none", "pulp",
			"unwinding unwinding", ""},
		"others without NOPs": {false, "toy_add", add, "-O2", "", "native", "no-nops", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			flags := map[bool]string{true: "-fpatchable-function-entry=16,14",
				false: "-fpatchable-function-entry=0"}
			f.setLibrary(0, compileText(t, handlingSource, "-fexceptions", flags[tc.nops]), true)
			f.setExports(0,
				exportList(map[string][]string{"libtoy.so.1": {"toy_unlock", "toy_call", "toy_add"},
					"libgcc_s.so.1": {"_Unwind_Resume@GCC_3.0"},
					"libc.so.6":     {"x@GLIBC_2.2.5"}}).Libraries)
			f.write("toy_livepatch1.in",
				"! CVE-2026-0001\nlibtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
					tc.function+":"+tc.function+"_lp\n")
			f.write("toy_livepatch1.c", tc.source)
			f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: ["+
				tc.cflags+"]\n    unwinding: "+cmp.Or(tc.unwinding, "any"))
			f.edit("license: MIT", "license: MIT\nentries: any")
			r, err := f.build()
			if (err == nil) != (tc.engines != "") || err != nil && !errors.Is(err, ErrRefused) {
				t.Fatalf("%v: %s", err, reasonText(r))
			}
			c := r.Cells[0]
			found := slices.Concat(c.Reasons, c.Notes)
			if got := strings.Join(c.Engines, " "); got != tc.engines ||
				codesOf(found) != tc.codes {
				t.Errorf("engines %q with %q, want %q with %q: %+v", got, codesOf(found),
					tc.engines, tc.codes, found)
			}
			text := ""
			for _, r := range found {
				text += r.Where + " " + r.Message + "\n" + r.Hint + "\n"
			}
			if !strings.Contains(text, tc.shown) {
				t.Errorf("%q is not in:\n%s", tc.shown, text)
			}
		})
	}
}

// TestLongNOPs: libpulp takes NOPs of several bytes, the native engine does not.
func TestLongNOPs(t *testing.T) {
	image := compileBare(t)
	lib, err := symtab.ParseLibrary(image, nil, "libtoy.so.1")
	if err != nil {
		t.Fatal(err)
	}
	add, _ := lib.Function("toy_add")
	copy(image[add.Value-14:], "\x66\x0f\x1f\x44\x00\x00\x0f\x1f\x80\x00\x00\x00\x00\x90")
	f := newPackage(t, "1.0-1")
	f.setLibrary(0, image, true)
	if c := f.mustBuild().Cells[0]; strings.Join(c.Engines, " ") != "pulp" ||
		codesOf(c.Notes) != "long-nops" {
		t.Errorf("engines %q, notes %+v", c.Engines, c.Notes)
	}
}

// TestPowerEntries: on other architectures only libpulp works, and functions need NOPs.
func TestPowerEntries(t *testing.T) {
	f := newPackage(t)
	f.addBuild("1.0-1", "ppc64le", 1)
	f.edit("arch: [x86_64]", "arch: [ppc64le]\nentries: any")
	c := f.mustBuild().Cells[0]
	if strings.Join(c.Engines, " ") != "pulp" || codesOf(c.Notes) != "architecture" {
		t.Errorf("engines %q, notes %+v", c.Engines, c.Notes)
	}
	f.replaces("toy_bare")
	if r, err := f.build(); !errors.Is(err, ErrRefused) || !strings.Contains(reasonText(r),
		"no engine does that on ppc64le") {
		t.Errorf("%v: %s", err, reasonText(r))
	}
}

// TestNotLoaded: the native engine loads no libraries that only the container needs.
func TestNotLoaded(t *testing.T) {
	const usesMath = "double sin(double); int toy_add_lp(int a, int b) { return (int)sin(a) + b; " +
		"}\n"
	f := newPackage(t, "1.0-1")
	f.lock.Builds = append(f.lock.Builds, download.Build{Name: "glibc", Version: "2.31",
		Release: "1", Arch: "x86_64"})
	f.setExports(1, exportList(map[string][]string{"libm.so.6": {"sin@GLIBC_2.2.5"}}).Libraries)
	f.edit("sources: [toy_livepatch1.c]", "sources: [toy_livepatch1.c]\n    cflags: "+
		"['-Wl,--no-as-needed,-lm']")
	if c := f.mustBuild().Cells[0]; strings.Join(c.Engines, " ") != "pulp native" {
		t.Errorf("needed, but not used: engines %q, %+v", c.Engines, c.Notes)
	}
	f.write("toy_livepatch1.c", usesMath)
	c := f.mustBuild().Cells[0]
	if strings.Join(c.Engines, " ") != "pulp" || codesOf(c.Notes) != "not-loaded" ||
		!strings.Contains(c.Notes[0].Message, "libm.so.6") {
		t.Errorf("engines %q, notes %+v", c.Engines, c.Notes)
	}
}

// TestTooMany: what the native engine limits is not refused as long as libpulp can do it.
func TestTooMany(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.write("toy_livepatch1.in", "! "+strings.Repeat("x", 100<<10)+
		"\nlibtoy_{version}-{release}_livepatch1.so\n@{library}\ntoy_add:toy_add_lp\n")
	c := f.mustBuild().Cells[0]
	if strings.Join(c.Engines, " ") != "pulp" || codesOf(c.Notes) != "native-engine" ||
		!bytes.Contains([]byte(c.Notes[0].Message), []byte("too large")) {
		t.Errorf("engines %q, notes %+v", c.Engines, c.Notes)
	}
}
