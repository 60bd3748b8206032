package buildmatrix

import (
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestMovedSymbols: in a patch for glibc, functions that glibc 2.34 moved are bound to the version
// that older builds have, whatever this machine's glibc is; unless the source says it by itself.
func TestMovedSymbols(t *testing.T) {
	for what, tc := range map[string]struct{ source, want string }{
		"moved": {"#include <pthread.h>\nint toy_add_lp(int a, int b) { pthread_key_t k; return " +
			"pthread_key_create(&k, 0) + a + b; }\n", "GLIBC_2.2.5"},
		"says it by itself": {"#include <pthread.h>\n__asm__(\".symver " +
			"pthread_key_create,pthread_key_create@GLIBC_2.34\");\n" +
			"int toy_add_lp(int a, int b) { pthread_key_t k; return pthread_key_create(&k, 0) + " +
			"a + b; }\n", "GLIBC_2.34"},
	} {
		f := newPackage(t, "2.31-1", "2.38-1")
		for i := range f.lock.Builds {
			f.lock.Builds[i].Source = "glibc"
			f.setExports(i,
				exportList(map[string][]string{"libc.so.6": {"pthread_key_create@GLIBC_2.2.5",
					"pthread_key_create@GLIBC_2.34", "strlen@GLIBC_2.2.5",
					"__cxa_finalize@GLIBC_2.2.5", "__stack_chk_fail@GLIBC_2.4"}}).Libraries)
		}
		f.write("toy_livepatch1.c", tc.source)
		r := f.mustBuild()
		for _, c := range r.Cells {
			undefined := f.container(c).Undefined()
			if !slices.ContainsFunc(undefined, func(u symtab.Undefined) bool {
				return u.Name == "pthread_key_create" && u.Version == tc.want
			}) {
				t.Errorf("%s: want version %s: %+v", what, tc.want, undefined)
			}
		}
		if again := f.mustBuild(); again.CompilerRuns != 0 {
			t.Errorf("%s: the second run compiled", what)
		}
	}
}

// TestWordsOfOlderTemplates: LIBPTHREAD is a library of its own before glibc 2.34.
func TestWordsOfOlderTemplates(t *testing.T) {
	for _, tc := range []struct{ source, version, library, pthread, libc string }{
		{"glibc", "2.31", "libc.so.6", "/lib64/libpthread.so.0", "/lib64/libc.so.6"},
		{"glibc", "2.31", "libpthread.so.0", "/lib64/libpthread.so.0", "/lib64/libc.so.6"},
		{"glibc", "2.38", "libc.so.6", "/lib64/libc.so.6", "/lib64/libc.so.6"},
		{"toy", "2.31", "libtoy.so.1", "/lib64/libtoy.so.1", "/lib64/libtoy.so.1"},
	} {
		c := Cell{Patch: &config.Patch{Library: tc.library}, Build: &download.Build{Name: "x",
			Source: tc.source, Version: tc.version, Release: "1"}, Library: &download.Library{}}
		for word, want := range map[string]string{"LIBPTHREAD": tc.pthread, "LIBC": tc.libc} {
			d, err := ulp.ParseDescription("x.in", []byte("a.so\n@"+word+"\nf:g\n"))
			if err != nil {
				t.Fatal(err)
			}
			if d, err = d.Expand(c.expansion(), nil); err != nil || d.Target.Text != want {
				t.Errorf("%s of %s-%s: %v, %v; want %s", word, tc.source, tc.version, d, err, want)
			}
		}
	}
}

// TestPackageMacros: a source can ask for the package that is made, and is compiled anew for
// another version of it.
func TestPackageMacros(t *testing.T) {
	f := newPackage(t, "1.0-1", "2.0-1")
	f.write("toy_livepatch1.c", "#define TEXT(x) #x\n#define TEXT_OF(x) TEXT(x)\n"+
		"const char toy_name[] = LPBUILD_PACKAGE_NAME \" \" LPBUILD_PACKAGE_VERSION;\n"+
		"_Static_assert(sizeof toy_name == sizeof TEXT_OF(LPBUILD_PACKAGE_NAME_UNQUOTED) + "+
		"sizeof TEXT_OF(LPBUILD_PACKAGE_VERSION_UNQUOTED), \"the same\");\n"+
		"int toy_add_lp(int a, int b) { return a + b + toy_name[a & 7]; }\n")
	size := func() uint64 {
		s, _ := f.container(f.mustBuild().Cells[0]).Lookup("toy_name")
		return s.Size
	}
	if got, want := size(), uint64(len("toy-livepatches 1")+1); got != want {
		t.Errorf("the name has %d bytes, want %d", got, want)
	}
	f.edit(`version: "1"`, `version: "1.25"`)
	if got, want := size(), uint64(len("toy-livepatches 1.25")+1); got != want {
		t.Errorf("after the change the name has %d bytes, want %d", got, want)
	}
}
