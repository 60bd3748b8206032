package buildmatrix

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/compile"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// addProvider puts a build of another package into the lock that exports the given symbols from
// libc.so.6.
func (f *packageDir) addProvider(version string, symbols ...string) {
	f.t.Helper()
	data, err := exportList(map[string][]string{"libc.so.6": symbols}).Bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	name := "catalogue/x86_64/TOY/glibc/" + version + "-1/exports.json"
	f.write(name, string(data))
	f.lock.Builds = append(f.lock.Builds, download.Build{
		Name: "glibc", Source: "glibc", Version: version, Release: "1", Arch: "x86_64",
		RPM:     download.File{Digest: digest.OfBytes(nil)},
		Exports: &download.Exports{File: name, Digest: digest.OfBytes(data)},
	})
}

// newerThanLibrary is a live patch that needs pthread_create@GLIBC_2.34, where libtoy itself needs
// GLIBC_2.2.5 only.
const newerThanLibrary = `#include <pthread.h>
static void *run(void *p) { return p; }
int toy_add_lp(int a, int b) { pthread_t t; return pthread_create(&t, 0, run, 0) + a + b; }
`

// TestUndefinedSymbols judges what the container needs from libraries of other packages.
func TestUndefinedSymbols(t *testing.T) {
	const oldEnough = "#include <string.h>\nint toy_add_lp(int a, int b) { extern char " +
		"*toy_text; return strlen(toy_text) + a + b; } char *toy_text = \"x\";\n"
	tests := map[string]struct {
		source  string
		add     func(*packageDir)
		code    string // "": accepted
		message string
	}{
		"version that the library needs itself": {oldEnough, func(*packageDir) {}, "", ""},
		"version newer than the library's": {newerThanLibrary, func(*packageDir) {},
			"undefined-version", "GLIBC_2.34"},
		"version that every provider has": {newerThanLibrary, func(f *packageDir) {
			f.addProvider("2.34", "pthread_create@GLIBC_2.34", "__cxa_finalize@GLIBC_2.2.5",
				"__stack_chk_fail@GLIBC_2.4")
			f.addProvider("2.38", "pthread_create@GLIBC_2.34", "__cxa_finalize@GLIBC_2.2.5",
				"__stack_chk_fail@GLIBC_2.4")
		}, "", ""},
		"version that one provider lacks": {newerThanLibrary, func(f *packageDir) {
			f.addProvider("2.34", "pthread_create@GLIBC_2.34", "__cxa_finalize@GLIBC_2.2.5",
				"__stack_chk_fail@GLIBC_2.4")
			f.addProvider("2.31", "pthread_create@GLIBC_2.2.5", "__cxa_finalize@GLIBC_2.2.5",
				"__stack_chk_fail@GLIBC_2.4")
		}, "undefined-version", `__asm__(".symver pthread_create,pthread_create@GLIBC_2.2.5");`},
		"symbol that no provider has": {newerThanLibrary, func(f *packageDir) {
			f.addProvider("2.34", "thrd_create@GLIBC_2.34", "__cxa_finalize@GLIBC_2.2.5",
				"__stack_chk_fail@GLIBC_2.4")
		}, "undefined-symbol", "pthread_create@GLIBC_2.34"},
		"exported function of the library": {"int toy_sub(int, int); int toy_add_lp(int a, " +
			"int b) { return toy_sub(a, b); }\n", func(*packageDir) {}, "", ""},
		"static function of the library": {"int hidden(int); int toy_add_lp(int a, int b) { " +
			"return hidden(a) + b; }\n", func(*packageDir) {}, "undefined-symbol", "hidden"},
		"weak symbol that nobody has": {"__attribute__((weak)) int gone(int); int " +
			"toy_add_lp(int a, int b) { return gone ? gone(a) : b; }\n", func(*packageDir) {}, "",
			""},
		"static variable through a reference": {"static int *toy_ref __attribute__((used)); int " +
			"toy_add_lp(int a, int b) { return a; }\n", func(*packageDir) {}, "", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.write("toy_livepatch1.c", tc.source)
			tc.add(f)
			r, err := f.build()
			switch {
			case tc.code == "" && err != nil:
				t.Errorf("%v: %s", err, reasonText(r))
			case tc.code != "" && !errors.Is(err, ErrRefused):
				t.Errorf("error is %v, want a refusal", err)
			case tc.code != "" && !strings.Contains(reasonText(r), tc.code+": ") ||
				!strings.Contains(reasonText(r), tc.message):
				t.Errorf("want %s with %q:\n%s", tc.code, tc.message, reasonText(r))
			}
		})
	}
}

// TestLibcVersion compiles a patch for glibc: __GLIBC_PREREQ asks about the build, not about this
// machine.
func TestLibcVersion(t *testing.T) {
	f := newPackage(t, "2.31-1", "2.38-1")
	for i := range f.lock.Builds {
		// of whatever package: gconv modules are not in glibc's own
		f.lock.Builds[i].Source = "glibc"
	}
	f.write("toy_livepatch1.c", `#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#if __GLIBC_PREREQ(2, 34)
int toy_is_new = MFD_CLOEXEC;
#else
int toy_is_old = MFD_CLOEXEC;
#endif
int toy_add_lp(int a, int b) { return a * __GLIBC__ + __GLIBC_MINOR__; }
`)
	r := f.mustBuild()
	for i, want := range []string{"toy_is_old", "toy_is_new"} {
		if _, ok := f.container(r.Cells[i]).Lookup(want); !ok {
			t.Errorf("the container for glibc %s has no %s", r.Cells[i].Version, want)
		}
	}
	objects, _ := filepath.Glob(filepath.Join(f.dir, config.BuildDir, compile.Dir, "*.so"))
	if len(objects) != 2 {
		t.Errorf("%d objects, want one for each libc", len(objects))
	}
}
