package download_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// withStatic returns libfoo with a static variable that only its debuginfo names.
func withStatic(kind debuginfoKind, more string) testPackage {
	p := libfoo("1", "static int counter; int foo(void) { return ++counter; }"+more)
	p.Debuginfo = kind
	return p
}

// knowsStatic reports whether the catalogue of the only build has the static variable.
func (w *world) knowsStatic(t *testing.T, l *download.Lock) bool {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, libraryOf(&l.Builds[0], "libfoo.so.1").Catalogue))
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := symtab.ParseCatalogue(data)
	if err != nil {
		t.Fatal(err)
	}
	_, ok := catalogue.Lookup("counter")
	return ok
}

func (w *world) debugSource(t *testing.T, main *world) download.Source {
	t.Helper()
	s := w.source(t)
	s.Main = location(t, main.server.URL+"/update")
	return s
}

// TestDebuginfoByPath uses a package without links by build-id.
func TestDebuginfoByPath(t *testing.T) {
	w := packageWorld(t, withStatic(byPathOnly, ""))
	res := w.mustRun(t, want("libfoo1", "libfoo.so.1"))
	if !w.knowsStatic(t, res.Lock) || len(w.warnings) != 0 {
		t.Errorf("the debuginfo was not used: %q", w.warnings)
	}
}

// TestDebuginfoOfOtherBuild rejects debuginfo that merely has the right name: its addresses belong
// to another library.
func TestDebuginfoOfOtherBuild(t *testing.T) {
	w := packageWorld(t, withStatic(ofOtherBuild, ""))
	_, err := w.run(t, want("libfoo1", "libfoo.so.1"))
	if _, is := errors.AsType[*symtab.BuildIDError](err); !is {
		t.Fatalf("error is %v, want a BuildIDError", err)
	}
	for _, part := range []string{w.server.URL +
		"/update_debug/x86_64/libfoo1-debuginfo-1-1.x86_64.rpm", "/usr/lib64/libfoo.so.1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %s", err, part)
		}
	}
}

// TestDebuginfoIsChosen offers two debuginfo packages of one name: the one with the library's
// build-id is used, wherever it comes from and however its files are named.
func TestDebuginfoIsChosen(t *testing.T) {
	right, byPath := packageWorld(t, withStatic(byBuildID, "")),
		packageWorld(t, withStatic(byPathOnly, ""))
	wrongID, wrongPath := packageWorld(t, withStatic(byBuildID, "int more;")),
		packageWorld(t, withStatic(ofOtherBuild, ""))
	w := packageWorld(t, libfoo("2", fooTwo))
	for name, tc := range map[string]struct{ first, second, chosen *world }{
		"by build-id":                      {wrongID, right, right},
		"the repository's own":             {right, wrongID, right},
		"by path":                          {wrongPath, byPath, byPath},
		"by build-id and not path":         {wrongPath, right, right},
		"both match: the repository's own": {byPath, right, byPath},
	} {
		t.Run(name, func(t *testing.T) {
			w.newDir(t)
			both := func(r *download.Request) {
				want("libfoo1", "libfoo.so.1")(r)
				r.Packages[0].Builds = mustRange(t, "< 1-2")
				r.Repositories = []download.Source{tc.first.debugSource(t, right),
					tc.second.debugSource(t, w)}
			}
			first := w.mustRun(t, both)
			if url := first.Lock.Builds[0].Debuginfo.URL; !strings.HasPrefix(url,
				tc.chosen.server.URL) || !w.knowsStatic(t, first.Lock) {
				t.Errorf("the debuginfo is from %s, want it from %s", url, tc.chosen.server.URL)
			}
			again := w.mustRun(t, both) // from what the store remembers
			if *again.Lock.Builds[0].Debuginfo != *first.Lock.Builds[0].Debuginfo {
				t.Errorf("the debuginfo is %+v after the first run, %+v after the second",
					again.Lock.Builds[0].Debuginfo, first.Lock.Builds[0].Debuginfo)
			}
		})
	}
}

// TestDebuginfoWithoutTheLibrary warns of the missing debuginfo and uses the library's own symbols.
func TestDebuginfoWithoutTheLibrary(t *testing.T) {
	right, other := packageWorld(t, withStatic(byBuildID, "")), packageWorld(t, testPackage{
		Name: "libfoo1", Version: "1", Release: "1", Debuginfo: byBuildID,
		Libraries: []testLibrary{{Path: "/usr/lib64/libbar.so.1", SONAME: "libbar.so.1",
			Code: "int bar;"}},
	})
	res, err := right.run(t, func(r *download.Request) {
		want("libfoo1", "libfoo.so.1")(r)
		r.Repositories = []download.Source{other.debugSource(t, right)}
	})
	if err != nil {
		t.Fatal(err)
	}
	warned := strings.Join(right.warnings, "\n")
	if !strings.Contains(warned, "no debuginfo for /usr/lib64/libfoo.so.1 (build-id "+
		res.Lock.Builds[0].Libraries[0].BuildID) || right.knowsStatic(t, res.Lock) {
		t.Errorf("warnings: %s", warned)
	}
}

// TestDebuginfoOfMost uses the package that covers most libraries if none covers all, and warns.
func TestDebuginfoOfMost(t *testing.T) {
	foo, bar := withStatic(byBuildID, ""), testLibrary{Path: "/usr/lib64/libbar.so.1",
		SONAME: "libbar.so.1", Code: "int bar;"}
	nothing := foo
	nothing.Libraries = []testLibrary{{Path: "/usr/lib64/libx.so.1", Code: "int x;"}}
	both := foo
	both.Libraries = append([]testLibrary{bar}, foo.Libraries...)
	both.Debuginfo = noDebuginfo
	w, some, none := packageWorld(t, both), packageWorld(t, foo), packageWorld(t, nothing)
	for name, others := range map[string][]*world{"first": {some, none}, "last": {none, some}} {
		t.Run(name, func(t *testing.T) {
			w.newDir(t)
			w.warnings = nil
			res := w.mustRun(t, func(r *download.Request) {
				want("libfoo1", "libfoo.so.1 libbar.so.1")(r)
				r.Repositories = nil
				for _, o := range others {
					r.Repositories = append(r.Repositories, o.debugSource(t, w))
				}
			})
			warned := strings.Join(w.warnings, "\n")
			if !w.knowsStatic(t, res.Lock) ||
				!strings.HasPrefix(res.Lock.Builds[0].Debuginfo.URL, some.server.URL) ||
				!strings.Contains(warned, "no debuginfo for /usr/lib64/libbar.so.1") ||
				!strings.Contains(warned, "none of its 2 debuginfo packages covers all libraries") {
				t.Errorf("the debuginfo is from %s; warnings: %s", res.Lock.Builds[0].Debuginfo.URL,
					warned)
			}
		})
	}
}

// TestStaleDebuginfo lists the debuginfo a second time, with a file that no longer exists.
func TestStaleDebuginfo(t *testing.T) {
	p := libfoo("1", fooOne)
	p.Debuginfo = byBuildID
	w := packageWorld(t, p)
	debug := &world{repo: &distro.Repository{Dir: w.repo.DebugDir, Key: w.repo.Key}}
	editXML(t, debug, func(xml []byte) []byte {
		start, end := bytes.Index(xml, []byte("<package ")), bytes.Index(xml, []byte("</metadata>"))
		at := bytes.Index(xml, []byte(`pkgid="YES">`)) + len(`pkgid="YES">`)
		stale := slices.Concat(xml[start:at], []byte(strings.Repeat("0", 8)), xml[at+8:end])
		return slices.Concat(bytes.Replace(xml[:start], []byte(`packages="1"`),
			[]byte(`packages="2"`), 1), stale, xml[start:end], xml[end:])
	})
	if err := w.repo.Key.Sign(t.Context(), filepath.Join(w.repo.DebugDir, "repodata",
		"repomd.xml")); err != nil {
		t.Fatal(err)
	}
	l := w.mustRun(t, want("libfoo1", "libfoo.so.1")).Lock
	if lib := libraryOf(&l.Builds[0], "libfoo.so.1"); lib == nil || lib.Debuginfo == nil {
		t.Errorf("the library is %+v", lib)
	}
}

// TestDebuginfoOfSource finds debuginfo named after the source package, by the source RPM, and no
// debuginfo of another one.
func TestDebuginfoOfSource(t *testing.T) {
	p := withStatic(byBuildID, "")
	p.Source, p.DebugName = "foo", "foo"
	w := packageWorld(t, p)
	if res := w.mustRun(t, want("libfoo1", "libfoo.so.1")); !w.knowsStatic(t, res.Lock) ||
		len(w.warnings) != 0 {
		t.Errorf("the debuginfo was not used: %q", w.warnings)
	}
	p.Source, p.DebugName = "foo", "bar"
	w = packageWorld(t, p)
	if res := w.mustRun(t, want("libfoo1", "libfoo.so.1")); w.knowsStatic(t, res.Lock) ||
		!strings.Contains(strings.Join(w.warnings, "\n"), "no debuginfo package: only") {
		t.Errorf("warnings: %q", w.warnings)
	}
}

// TestNoDebuginfoWarning gets no warning for a library that is not stripped: it needs no debuginfo.
func TestNoDebuginfoWarning(t *testing.T) {
	for _, unstripped := range []bool{false, true} {
		p := withStatic(noDebuginfo, "")
		p.Unstripped = unstripped
		w := packageWorld(t, p)
		res := w.mustRun(t, want("libfoo1", "libfoo.so.1"))
		if (len(w.warnings) == 0) != unstripped || w.knowsStatic(t, res.Lock) != unstripped {
			t.Errorf("stripped is not %t: warnings %q", unstripped, w.warnings)
		}
	}
}
