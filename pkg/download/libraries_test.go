package download_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// plugs is a package with two libraries of one base name.
func plugs() testPackage {
	return testPackage{Name: "app", Version: "1", Release: "1", Libraries: []testLibrary{
		{Path: "/usr/lib64/one/plug.so", Code: "int one(void) { return 1; }"},
		{Path: "/usr/lib64/two/plug.so", Code: "int two(void) { return 2; }"},
	}}
}

// TestTwoLibrariesOfOneName keeps a catalogue for each.
func TestTwoLibrariesOfOneName(t *testing.T) {
	w := packageWorld(t, plugs())
	w.mustRun(t, want("app", "/usr/lib64/one/plug.so /usr/lib64/two/plug.so"))
	lock, err := download.ReadLock(w.lock)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.CheckFiles(w.dir); err != nil {
		t.Error(err)
	}
	for name, function := range map[string]string{"/usr/lib64/one/plug.so": "one",
		"/usr/lib64/two/plug.so": "two"} {
		lib := libraryOf(&lock.Builds[0], name)
		if lib == nil {
			t.Fatalf("no %s in %+v", name, lock.Builds[0].Libraries)
		}
		data, err := os.ReadFile(filepath.Join(w.dir, lib.Catalogue))
		if err != nil {
			t.Fatal(err)
		}
		catalogue, err := symtab.ParseCatalogue(data)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := catalogue.Lookup(function); !ok ||
			filepath.Base(lib.Catalogue) != "plug.so-"+lib.Pinned.Hex[:16]+".json" {
			t.Errorf("%s of %s is not in %s", function, name, lib.Catalogue)
		}
	}
}

// TestAmbiguousName lists the matching files and says how to name one.
func TestAmbiguousName(t *testing.T) {
	w := packageWorld(t, plugs())
	_, err := w.run(t, want("app", "plug.so"))
	var ambiguous *rpmfile.AmbiguousError
	if !errors.As(err, &ambiguous) || errors.Is(err, download.ErrNotOffered) {
		t.Fatalf("error is %v, want an AmbiguousError", err)
	}
	for _, part := range []string{"app-1-1.x86_64.rpm",
		"/usr/lib64/one/plug.so or /usr/lib64/two/plug.so", "by its path"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q, want %q in it", err, part)
		}
	}
}

// TestVariants downloads a library for each kind of processor for which the package has one.
func TestVariants(t *testing.T) {
	code := func(n string) string {
		return "int fast(void) { return " + n + "; }\nstatic int hidden = " + n +
			"; int *p = &hidden;"
	}
	w := packageWorld(t, testPackage{Name: "libz1", Version: "1.2.13", Release: "150500.4.3.1",
		Debuginfo: byBuildID, Libraries: []testLibrary{
			{Path: "/usr/lib64/libz.so.1.2.13", SONAME: "libz.so.1", Code: code("1")},
			{Path: "/usr/lib64/glibc-hwcaps/x86-64-v3/libz.so.1.2.13", SONAME: "libz.so.1",
				Code: code("3") + "int v3;"},
			{Path: "/usr/lib64/haswell/libz.so.1.2.13", SONAME: "libz.so.1", Code: code("2")},
			// the very same build
			{Path: "/usr/lib64/glibc-hwcaps/x86-64-v2/libz.so.1.2.13", SONAME: "libz.so.1",
				Code: code("1")},
		}, Links: map[string]string{
			"/usr/lib64/libz.so.1":                        "libz.so.1.2.13",
			"/usr/lib64/glibc-hwcaps/x86-64-v3/libz.so.1": "libz.so.1.2.13",
			"/usr/lib64/haswell/libz.so.1":                "libz.so.1.2.13",
			"/usr/lib64/glibc-hwcaps/x86-64-v2/libz.so.1": "libz.so.1.2.13",
		}})
	b := &w.mustRun(t, want("libz1", "libz.so.1")).Lock.Builds[0]
	var got []string
	ids := map[string]bool{}
	for _, lib := range b.LibrariesNamed("libz.so.1") {
		got = append(got, lib.Variant+" "+lib.Path)
		ids[lib.BuildID] = true
		if lib.Debuginfo == nil {
			t.Errorf("%s has no debuginfo", lib.Path)
		}
	}
	if d := cmp.Diff([]string{
		" /usr/lib64/libz.so.1.2.13", "haswell /usr/lib64/haswell/libz.so.1.2.13",
		"x86-64-v3 /usr/lib64/glibc-hwcaps/x86-64-v3/libz.so.1.2.13",
	}, got); d != "" || len(ids) != 3 {
		t.Errorf("variants, %d build-ids (-want +got):\n%s", len(ids), d)
	}
	exported := w.exportsOf(t, b).Libraries["libz.so.1"]
	if exported.Path != "/usr/lib64/libz.so.1.2.13" || slices.Contains(exported.Symbols, "v3") {
		t.Errorf("the exports are from %s, want the library for all processors", exported.Path)
	}
}

// TestPartsOfSource treats a subpackage of glibc like glibc, by its source package.
func TestPartsOfSource(t *testing.T) {
	module := testLibrary{Path: "/usr/lib64/gconv/ISO-2022-CN-EXT.so",
		Code: "int gconv(void) { return 1; }"}
	w := packageWorld(t,
		testPackage{Name: "glibc-locale-base", Source: "glibc", Version: "2.38", Release: "1",
			Libraries: []testLibrary{module}},
		testPackage{Name: "libc-other", Source: "glibc", Version: "2.38", Release: "1",
			Libraries: []testLibrary{
				{Path: "/lib64/libc.so.6", SONAME: "libc.so.6", Code: "int pthread_create(void) " +
					"{ return 1; }"},
				{Path: "/lib64/libpthread.so.0", SONAME: "libpthread.so.0",
					Code: "int gone(void) { return 1; }"},
			}})
	res := w.mustRun(t, want("glibc-locale-base libc-other", "ISO-2022-CN-EXT.so "+
		"/lib64/libpthread.so.0"))
	if d := cmp.Diff([]string{"glibc-locale-base-2.38-1.x86_64", "libc-other-2.38-1.x86_64"},
		names(res.Lock)); d != "" {
		t.Fatalf("builds (-want +got):\n%s", d)
	}
	for i, want := range []struct{ name, path string }{{"ISO-2022-CN-EXT.so", module.Path},
		{"/lib64/libpthread.so.0", "/lib64/libc.so.6"}} {
		b := &res.Lock.Builds[i]
		if lib := libraryOf(b, want.name); b.Source != "glibc" || lib == nil ||
			lib.Path != want.path {
			t.Errorf("%s of source %q has %+v, want %s at %s", b.NEVRA(), b.Source, b.Libraries,
				want.name, want.path)
		}
	}
}

// TestLinkOutOfThePackage does not follow a library that is a link to a file of this machine, or to
// a missing file.
func TestLinkOutOfThePackage(t *testing.T) {
	p := libfoo("1", fooOne)
	p.Links = map[string]string{
		"/usr/lib64/libout.so.1": "/etc/passwd",
		"/usr/lib64/libup.so.1":  "../../../../../../etc/passwd",
	}
	w := packageWorld(t, p)
	for _, name := range []string{"libout.so.1", "libup.so.1", "/usr/lib64/libout.so.1",
		"/etc/passwd", "../../etc/passwd"} {
		if _, err := w.run(t, want("libfoo1", "libfoo.so.1 "+name)); !errors.Is(err,
			download.ErrNotOffered) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error is %v, want ErrNotOffered", name, err)
		}
	}
}
