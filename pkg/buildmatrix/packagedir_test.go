package buildmatrix

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// librarySource is the library that the tests patch: libtoy, with one function of each kind that
// matters.
const librarySource = `
#include <string.h>
static int counter;
__thread int per_thread;
__attribute__((noinline)) static int hidden(int n) { counter += n; return counter; }
int toy_add(int a, int b) { return hidden(a) + b + VARIANT; }
int toy_sub(int a, int b) { return a - b - VARIANT; }
int toy_plus(int, int) __attribute__((alias("toy_add")));
__attribute__((patchable_function_entry(0, 0))) int toy_bare(int a) { return a * VARIANT; }
int *toy_counter(void) { return &counter; }
static int __toy_max_plain(int a, int b) { return a > b ? a : b; }
static int __toy_max_fast(int a, int b) { return a > b ? a : b + 0 * VARIANT; }
static int __toy_max_chk_fast(int a, int b) { return a > b ? a : b; }
typedef int (*max_fn)(int, int);
static max_fn resolve(void)
{ return counter > 100 ? __toy_max_plain : counter > 200 ? __toy_max_chk_fast : __toy_max_fast; }
int toy_max(int, int) __attribute__((ifunc("resolve")));
max_fn toy_table[] = { __toy_max_plain, __toy_max_fast, __toy_max_chk_fast };
unsigned long toy_len(const char *s) { return strlen(s) + per_thread; }
#if VARIANT > 1
int toy_new(int a) { return a; }
__asm__(".symver toy_new,toy_new@@TOY_2");
#endif
`

const versionScript = "TOY_1 { global: toy_add; toy_plus; toy_sub; toy_bare; toy_counter; " +
	"toy_max; toy_len; toy_table; local: *; };\nTOY_2 { } TOY_1;\n"

// packageDir is a package directory with a lock and a catalogue, made without a repository.
type packageDir struct {
	t    *testing.T
	dir  string
	lock *download.Lock
}

// image returns libtoy in a variant, compiled once per test run.
var image = func() func(t *testing.T, variant int, arch symtab.Arch) []byte {
	var mu sync.Mutex
	known := map[string][]byte{}
	return func(t *testing.T, variant int, arch symtab.Arch) []byte {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprint(variant, arch)
		if known[key] == nil {
			known[key] = compileToy(t, variant, arch)
		}
		return known[key]
	}
}()

func compileToy(t *testing.T, variant int, arch symtab.Arch) []byte {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "toy.c"), librarySource)
	put(t, filepath.Join(dir, "toy.map"), versionScript)
	cc := map[symtab.Arch]string{"x86_64": "gcc", "ppc64le": "powerpc64le-linux-gnu-gcc"}[arch]
	cmd := exec.Command(cc, "-O2", "-fPIC", "-shared", "-fpatchable-function-entry=16,14",
		"-Wl,--build-id=sha1", "-Wl,-soname,libtoy.so.1", "-Wl,--version-script=toy.map",
		fmt.Sprintf("-DVARIANT=%d", variant), "-o", "libtoy.so.1", "toy.c")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "libtoy.so.1"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// compilePlain returns a module as gconv's are: no SONAME, and a function to patch.
func compilePlain(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "plain.c"), "int toy_add(int a, int b) { return a + b; }\n")
	cmd := exec.Command("gcc", "-O2", "-fPIC", "-shared", "-fpatchable-function-entry=16,14",
		"-Wl,--build-id=sha1", "-o", "libplain.so", "plain.c")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(filepath.Join(dir, "libplain.so"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// newPackage returns a package directory with one build of libtoy for each of the versions, in
// variants 1, 2, 3 …
func newPackage(t *testing.T, versions ...string) *packageDir {
	t.Helper()
	f := &packageDir{t: t, dir: t.TempDir(), lock: &download.Lock{Format: download.LockFormat,
		Product: "TOY"}}
	for i, v := range versions {
		f.addBuild(v, "x86_64", i+1)
	}
	f.write("toy_livepatch1.in",
		"! Fixes CVE-2026-0001\nlibtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
			"toy_add:toy_add_lp\n")
	f.write("toy_livepatch1.c", "int toy_add_lp(int a, int b) { return a + b + 1000; }\n")
	f.write(config.FileName, strings.ReplaceAll(`name: toy-livepatches
version: "1"
product: TOY
arch: [x86_64]
license: MIT
repositories: [{url: /nowhere, unsigned: true}]
packages: [{name: toy}]
patches:
  - library: libtoy.so.1
    description: toy_livepatch1.in
    sources: [toy_livepatch1.c]
`, "\t", "  "))
	return f
}

func (f *packageDir) write(name, text string) {
	f.t.Helper()
	put(f.t, filepath.Join(f.dir, name), text)
}

// edit replaces text in the configuration.
func (f *packageDir) edit(old, new string) {
	f.t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, config.FileName))
	if err != nil {
		f.t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		f.t.Fatalf("%q is not in the configuration", old)
	}
	f.write(config.FileName, strings.Replace(string(data), old, new, 1))
}

// catalogued reads a library as download does, with the proofs for the native engine, or without.
func (f *packageDir) catalogued(image []byte, name string, prove bool) *symtab.Library {
	f.t.Helper()
	path := filepath.Join(f.t.TempDir(), name)
	put(f.t, path, string(image))
	lib, err := symtab.OpenLibrary(path, symtab.LibraryOptions{Prove: prove})
	if err != nil {
		f.t.Fatal(err)
	}
	return lib
}

// addBuild puts a build into the lock, with the catalogue of its libtoy.
func (f *packageDir) addBuild(version string, arch symtab.Arch, variant int) {
	f.t.Helper()
	evr, err := rpmver.Parse(version)
	if err != nil {
		f.t.Fatal(err)
	}
	lib := f.catalogued(image(f.t, variant, arch), "libtoy.so.1", true)
	place := fmt.Sprintf("catalogue/%s/TOY/toy/%s", arch, version)
	catalogue := lib.AppendCatalogue(nil)
	exported, err := exportList(map[string][]string{"libtoy.so.1": exportedOf(lib)}).Bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(place+"/libtoy.so.1.json", string(catalogue))
	f.write(place+"/exports.json", string(exported))
	f.lock.Builds = append(f.lock.Builds, download.Build{
		Name: "toy", Source: "toy", Version: evr.Version, Release: evr.Release, Arch: string(arch),
		Built: time.Unix(1e9, 0).UTC(),
		RPM:   download.File{URL: "file:///nowhere", Digest: digest.OfBytes([]byte(version))},
		Libraries: []download.Library{{
			Name: "libtoy.so.1", Path: "/usr/lib64/libtoy.so.1",
			BuildID:   fmt.Sprintf("%x", lib.BuildID),
			Catalogue: place + "/libtoy.so.1.json", Pinned: digest.OfBytes(catalogue),
		}},
		Exports: &download.Exports{File: place + "/exports.json", Digest: digest.OfBytes(exported)},
	})
}

// exportList is what a build whose libraries export these symbols has in its catalogue.
func exportList(symbols map[string][]string) *download.ExportList {
	l := &download.ExportList{Format: download.ExportsFormat,
		Libraries: map[string]download.ExportedLibrary{}}
	for soname, list := range symbols {
		l.Libraries[soname] = download.ExportedLibrary{Path: "/lib64/" + soname, Symbols: list}
	}
	return l
}

func exportedOf(lib *symtab.Library) []string {
	var list []string
	for s := range lib.Symbols() {
		if s.Dynamic && !s.Undefined {
			list = append(list, s.Name+"@"+s.Version)
		}
	}
	return list
}

// build builds the directory.
func (f *packageDir) build() (*Report, error) {
	f.t.Helper()
	c, err := config.Load(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	return Build(f.t.Context(), c, f.lock, Options{Tool: "test"})
}

// mustBuild builds the directory and insists that nothing is refused.
func (f *packageDir) mustBuild() *Report {
	f.t.Helper()
	r, err := f.build()
	if err != nil {
		f.t.Fatalf("%v: %s", err, reasonText(r))
	}
	return r
}

func reasonText(r *Report) string {
	if r == nil {
		return ""
	}
	var b strings.Builder
	for _, c := range r.Cells {
		for _, reason := range c.Reasons {
			fmt.Fprintf(&b, "%s %s: %s: %s (%s)\n", c.Status, c.Version, reason.Code,
				reason.Message, reason.Hint)
		}
	}
	return b.String()
}

// container opens what a cell of the report became.
func (f *packageDir) container(c CellInfo) *ulp.Container {
	f.t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, config.BuildDir, c.Arch, c.Container))
	if err != nil {
		f.t.Fatal(err)
	}
	container, err := ulp.ParseContainer(data)
	if err != nil {
		f.t.Fatal(err)
	}
	return container
}
