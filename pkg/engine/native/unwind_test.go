package native

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// unwinds compiles the program that throws and cancels through a library.
func unwinds(t *testing.T, lib string) string {
	t.Helper()
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("no g++: exceptions need it, and nothing else of lpbuild does")
	}
	plain := gcc(t, "plain.o", "-c", "-DNAME=plain", "testdata/handlers.c")
	exceptions := gcc(t, "exceptions.o", "-c", "-DNAME=exceptions", "-fexceptions",
		"testdata/handlers.c")
	return gcc(t, "unwinds", "testdata/unwind.cc", plain, exceptions, lib, "-Wl,-rpath,"+
		filepath.Dir(lib), "-lstdc++", "-pthread")
}

// TestUnwind says what the unwinder does with a live patch's frame, which it does not know, as the
// package's documentation has it: everything works that does not pass through it.
func TestUnwind(t *testing.T) {
	lib := library(t, nopFlags, "-fexceptions")
	program := unwinds(t, lib)
	before := map[string]string{
		"pass":      "outside, caught 7",
		"below":     "inside",
		"above":     "caught 8",
		"meanwhile": "inside called, caught 9",
		"cancel":    "inner exceptions middle plain top",
		"busy":      "inner exceptions middle plain top",
		"exit":      "inner exceptions middle plain top",
	}
	after := map[string]string{
		"pass":   "", // std::terminate
		"cancel": "plain top",
		"busy":   "plain top",
		"exit":   "plain top",
	}
	for _, name := range []string{"other", "replaced"} {
		lines := map[string]string{"other": both, "replaced": "calls:calls_lp\n"}[name]
		p := pack(t, lib, lines, ulp.PackOptions{}, "testdata/patch.c")
		for how, plain := range before {
			c := start(t, program, 0)
			c.says(how, plain)
			c.apply(Options{}, p)
			want, changes := after[how]
			if name == "other" || !changes {
				want = plain
			}
			if want == "" {
				c.Ends(how, unix.SIGABRT)
				continue
			}
			c.says(how, want)
			c.says(how, want)
			c.revert()
			c.says(how, plain)
		}
	}
}

// TestCancel: a thread can be cancelled in what a replacement called. Handlers of programs in C
// run, and those of the replacement itself.
func TestCancel(t *testing.T) {
	lib := library(t, nopFlags)
	for name, p := range map[string]*Patch{
		"plain":    pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"),
		"handlers": pack(t, lib, everything, ulp.PackOptions{}, "-DHANDLER", "testdata/patch.c"),
	} {
		c := start(t, target(t, lib), 0)
		c.says("cancel", "cancelled and cleaned up")
		c.apply(Options{}, p)
		c.says("cancel", "cancelled and cleaned up")
		want := patched
		if name == "handlers" {
			want = strings.Replace(patched, "2", "4711", 1) // first tells that the handler has run
		}
		c.says("all", want)
		c.revert()
		c.says("all", original)
	}
}

// handling is a library whose function has something to clean up, and replaced is its description.
const handling = "void unlock(int *p) { *p = 0; } int waits(int (*f)(int), int a) { " +
	"__attribute__((cleanup(unlock))) int l = a; return f(l) + l; }\n" +
	"int other(int a) { asm(\"\"); return a * 1000 + 7; }\n"

// TestHandlers: a function that has handlers is not replaced, by whatever entry; the process is
// left as it was.
func TestHandlers(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"lib.c": handling,
		"patch.c": "int waits_lp(int (*f)(int), int a) { return f(a) + a; } int other_lp(int a) " +
			"{ return a + 1; }\n",
		"target.c": "#include <stdio.h>\nint other(int); int main(void) { char l[9]; " +
			"puts(\"ready\"); fflush(stdout); while (fgets(l, 9, stdin)) { printf(\"%d\\n\", " +
			"other(1)); fflush(stdout); } }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, flags := range []string{nopFlags, "-fpatchable-function-entry=0"} {
		lib := gcc(t, "libtarget.so", "-shared", "-fPIC", "-fexceptions", "-Wl,--build-id",
			"-Wl,-soname,libtarget.so", flags, filepath.Join(dir, "lib.c"))
		c := start(t, gcc(t, "handles", filepath.Join(dir, "target.c"), lib, "-Wl,-rpath,"+
			filepath.Dir(lib)), 0)
		any := Options{Entries: symtab.EntriesAny}
		for _, lines := range []string{"waits:waits_lp\n", "other:other_lp\nwaits:waits_lp\n"} {
			p := pack(t, lib, lines, ulp.PackOptions{Force: true}, filepath.Join(dir, "patch.c"))
			c.refused(Change{Apply: []*Patch{p}}, any, ErrUnwinding)
			_, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, any)
			if want := `"waits" of libtarget.so: it handles exceptions or cancellation: the ` +
				`unwinder would not find`; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		// Whoever wrote the live patch says that nothing passes through: then it is like any other.
		none := pack(t, lib, "waits:waits_lp\n",
			ulp.PackOptions{Force: true, Unwinding: ulp.UnwindingNone},
			filepath.Join(dir, "patch.c"))
		if c.apply(any, none); len(c.list()) != 1 {
			t.Errorf("not applied: %v", c.list())
		}
		c.revert()
		if flags == nopFlags {
			c.apply(Options{}, pack(t, lib, "other:other_lp\n", ulp.PackOptions{},
				filepath.Join(dir, "patch.c")))
			c.says("", "2")
		}
	}
}

// TestHandlersAgree compares what the catalogue says of this machine's libc with what the engine
// says of a process. Those that are known to have handlers are among them: functions that lock a
// stream.
func TestHandlersAgree(t *testing.T) {
	lib, v, copies := provenLibc(t)
	known := map[string]bool{"fputs": true, "puts": true, "fflush": true, "malloc": false,
		"pthread_mutex_lock": false, "getaddrinfo": false}
	got, has := map[string]bool{}, 0
	for s := range lib.Symbols() {
		if s.Undefined || !s.Dynamic {
			continue
		}
		why := lib.Handlers(s.Value)
		err := v.checkHandlers(t.Context(), copies[0], copies[0].Bias+s.Value)
		if (err == nil) != (why == "") || err != nil && (!errors.Is(err, ErrUnwinding) ||
			!strings.Contains(err.Error(), why)) {
			t.Errorf("%s: the catalogue says %q, the engine %v", s.Name, why, err)
		}
		if _, ok := known[s.Name]; ok {
			got[s.Name] = why != ""
		}
		if why != "" {
			has++
		}
	}
	if d := cmp.Diff(known, got); d != "" || has < 20 {
		t.Errorf("%d functions with handlers (-want +got):\n%s", has, d)
	}
}

// TestNewPatchUnwinding says of containers whether they need the unwinder.
func TestNewPatchUnwinding(t *testing.T) {
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("no g++: exceptions need it, and nothing else of lpbuild does")
	}
	const extern = "#include <exception>\n#include <new>\nextern \"C\" "
	tests := map[string]struct {
		source string
		flags  []string
		code   string   // "": nothing is wrong
		want   []string // in the message
	}{
		"C": {"int f(int a) { return a + 1; }", nil, "", nil},
		"C with frames": {"void g(void); int f(int a) { g(); return a + 1; }",
			[]string{"-fexceptions"}, "", nil},
		"C cleanup": {"void c(int *); void g(void); void f(void) { " +
			"__attribute__((cleanup(c))) int x = 1; g(); }", []string{"-fexceptions"}, "unwinding",
			[]string{"__gcc_personality_v0"}},
		"ends its thread": {"#include <pthread.h>\nvoid f(void) { pthread_exit(0); }", nil,
			"unwinding", []string{"pthread_exit"}},
		"handler in C": {"#include <pthread.h>\nvoid g(void); void c(void *); void f(void) { " +
			"pthread_cleanup_push(c, 0); g(); pthread_cleanup_pop(0); }", nil, "", nil},
		"C++":    {extern + "int f(int a) { return a + 1; }", nil, "", nil},
		"delete": {extern + "void f(int *p) { delete p; delete[] p; }", nil, "", nil},
		"delete, sized": {extern + "void f(long *p) { operator delete(p, 8ul); operator " +
			"delete(p, std::align_val_t(64)); }", []string{"-std=c++17"}, "", nil},
		"new that returns 0": {extern + "void *f(int n) { return new (std::nothrow) char[n]; }",
			nil, "", nil},
		"new": {extern + "void *f(int n) { return operator new(n); }", nil,
			"may-throw", []string{`"_Znwm"`}},
		"new[]": {extern + "void *f(int n) { return operator new[](n); }", nil,
			"may-throw", []string{`"_Znam"`}},
		"no PLT": {extern + "void *f(int n) { return operator new(n); }",
			[]string{"-fno-plt"}, "may-throw", []string{`"_Znwm"`}},
		"terminate": {extern + "void f() { std::terminate(); }", nil, "", nil},
		"a function": {"namespace n { int g(int); }\n" + extern +
			"int f(int a) { return n::g(a); }", nil, "may-throw", []string{"_ZN1n1gEi"}},
		"a pointer to one": {"namespace n { int g(int); }\n" + extern +
			"void *f() { return (void *)n::g; }", nil, "may-throw", []string{"_ZN1n1gEi"}},
		"variables": {"namespace n { extern int v; struct S { static int v; }; }\n" + extern +
			"int f() { return n::v + n::S::v; }\n" +
			"extern \"C\" const void *g() { return &std::nothrow; }", nil, "", nil},
		"types": {extern + "void f() { }\nstruct B { virtual int m(); };\n" +
			"#include <typeinfo>\nconst std::type_info &g() { return typeid(B); }", nil, "", nil},
		"throws": {extern + "void f() { throw 1; }", nil, "unwinding",
			[]string{"__cxa_throw"}},
		"catches": {"void g() noexcept(false);\n" + extern +
			"void f() { try { g(); } catch (...) { } }", nil, "unwinding",
			[]string{"__cxa_begin_catch"}},
		"four": {"int a(int), b(int), c(int), d(int);\n" + extern +
			"int f(int n) { return a(n) + b(n) + c(n) + d(n); }", nil, "may-throw",
			[]string{"and 1 more"}},
		"its own personality": {"void c(int *); void g(void); void f(void) { " +
			"__attribute__((cleanup(c))) int x = 1; g(); }", []string{"-fexceptions", "-nostdlib",
			"-Wl,--defsym=__gcc_personality_v0=0,--defsym=_Unwind_Resume=0",
			"-Wl,--version-script=testdata/local.map"}, "unwinding", []string{
			"handlers of exceptions or cleanups"}},
		"a name like a number": {"int g(void) __asm__(\"_Z99999999999999999999x\"); int f(void) " +
			"{ return g(); }", nil, "may-throw", []string{"_Z999"}},
		"a name cut off": {"int g(void) __asm__(\"_ZN3ab\"); int f(void) { return g(); }", nil,
			"may-throw", []string{"_ZN3ab"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.cc")
			if !strings.Contains(tc.source, extern) {
				path = strings.TrimSuffix(path, "c")
			}
			if err := os.WriteFile(path, []byte(tc.source), 0o600); err != nil {
				t.Fatal(err)
			}
			image, err := os.ReadFile(gcc(t, "c.so", append([]string{"-shared", "-fPIC", path},
				tc.flags...)...))
			if err != nil {
				t.Fatal(err)
			}
			c, err := ulp.ParseContainer(image)
			if err != nil {
				t.Fatal(err)
			}
			// Unless the live patch says that nothing throws. What cannot be is refused all the
			// same.
			if _, err := prepare(c, ulp.UnwindingNone); (err != nil) != (tc.code == "unwinding") {
				t.Errorf("unwinding: none: %v", err)
			}
			_, err = prepare(c, "")
			e, ok := errors.AsType[*ContainerError](err)
			switch {
			case tc.code == "" && err != nil:
				t.Error(err)
			case tc.code != "" && (!ok || e.Code != tc.code || e.Hint == ""):
				t.Errorf("%v, want %s", err, tc.code)
			}
			for _, want := range tc.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		})
	}
}

// FuzzIsVariable tries any name. The name of a variable, with a parameter after it, names none.
func FuzzIsVariable(f *testing.F) {
	for _, seed := range []string{"3foo", "N1n1vE", "St4cout", "TI1B", "N1AIiE1vE", "L3foo",
		"99999999999999999999x", "0", "N", "E"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.HasPrefix(name, "T") || strings.HasPrefix(name, "GV") {
			return
		}
		if isVariable(name) && isVariable(name+"v") {
			t.Errorf("%q", name)
		}
	})
}
