package download_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
)

// remove removes RPMs from the world's repositories and publishes these again.
func (w *world) remove(t *testing.T, pattern string) {
	t.Helper()
	for _, dir := range []string{w.repo.Dir, w.repo.DebugDir} {
		found, err := filepath.Glob(filepath.Join(dir, "*", pattern))
		if err != nil || dir == "" {
			continue
		}
		for _, name := range found {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := distro.MakeRepository(t.Context(), dir, nil,
			distro.RepositoryOptions{Key: w.repo.Key,
				Revision: time.Now().Add(time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGone keeps a build that leaves its repository, with the date, until the user drops it.
func TestGone(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 3})
	first := w.mustRun(t, nil).Lock
	w.remove(t, "glibc-*150300.26.5*")
	today := time.Now().UTC().Format(time.DateOnly)
	const name = "glibc-2.31-150300.26.5.x86_64"
	for n := range 3 {
		res := w.mustRun(t, nil)
		if d := cmp.Diff(names(first), names(res.Lock)); d != "" {
			t.Fatalf("run %d: builds (-want +got):\n%s", n, d)
		}
		b := res.Lock.Builds[1]
		want := first.Builds[1]
		want.Gone = today
		if d := cmp.Diff(want, b); d != "" || res.Lock.Gone() != 1 {
			t.Errorf("run %d: the build (-want +got):\n%s", n, d)
		}
		if gone := len(res.Gone); len(res.Removed) != 0 || len(res.Added) != 0 ||
			gone != max(0, 1-n) {
			t.Errorf("run %d: added %v, removed %v, gone %v", n, res.Added, res.Removed, res.Gone)
		}
		if err := res.Lock.CheckFiles(w.dir); err != nil {
			t.Errorf("run %d: %v", n, err)
		}
		if n == 1 { // the date stays, and so does the catalogue without a store
			w.edit(t, w.lock, today, "2026-01-02")
			today = "2026-01-02"
			if err := os.Remove(w.store.Path(first.Builds[1].RPM.Digest)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A patch now names a library that the lock does not know: unknown is not "none".
	_, err := w.run(t, want("glibc", "libc.so.6 libpthread.so.0"))
	if !errors.Is(err, download.ErrGone) || !strings.Contains(err.Error(), "libpthread.so.0") ||
		!strings.Contains(err.Error(), "--forget") {
		t.Errorf("error is %v", err)
	}
	w.options.Forget = true
	res := w.mustRun(t, nil)
	if d := cmp.Diff([]string{name}, res.Removed); d != "" || len(res.Lock.Builds) != 2 {
		t.Errorf("removed (-want +got):\n%s", d)
	}
}

func (w *world) edit(t *testing.T, file, old, new string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatalf("%q is not in %s (%v)", old, file, err)
	}
	writeFile(t, file, strings.ReplaceAll(string(data), old, new))
}

// TestGoneOtherLibrary extracts a library that is named only now from the RPM, which the store
// still has.
func TestGoneOtherLibrary(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	w.mustRun(t, nil)
	w.remove(t, "glibc-*150300.26.5*")
	res := w.mustRun(t, want("glibc", "libc.so.6 libpthread.so.0"))
	if n := len(res.Lock.Builds); n != 2 || res.Lock.Gone() != 1 {
		t.Fatalf("%d builds, %d gone", n, res.Lock.Gone())
	}
	if lib := libraryOf(&res.Lock.Builds[1], "libpthread.so.0"); lib == nil ||
		lib.Debuginfo == nil {
		t.Errorf("the library is %+v", lib)
	}
}

// TestGoneWhole keeps the builds of a package that left the repository entirely and comes back
// later.
func TestGoneWhole(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	w.mustRun(t, nil)
	hidden := w.keepFiles(t)
	w.remove(t, "glibc-2*x86_64*")
	if res := w.mustRun(t, nil); res.Lock.Gone() != 1 {
		t.Errorf("builds: %v", names(res.Lock))
	}
	hidden()
	w.options.AllowOlder = true
	if res := w.mustRun(t, nil); res.Lock.Gone() != 0 || len(res.Lock.Builds) != 1 {
		t.Errorf("builds: %v, %d gone", names(res.Lock), res.Lock.Gone())
	}
}

// keepFiles returns a function that restores the repository as it is now.
func (w *world) keepFiles(t *testing.T) (restore func()) {
	t.Helper()
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.CopyFS(kept, os.DirFS(w.repo.Dir)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.RemoveAll(w.repo.Dir),
			os.CopyFS(w.repo.Dir, os.DirFS(kept))); err != nil {
			t.Fatal(err)
		}
	}
}

// oddPackages returns packages with a build in which a library's name matches two files.
func oddPackages() []testPackage {
	lib := func(path string) testLibrary {
		return testLibrary{Path: path, SONAME: "libfoo.so.1", Code: "int foo(void) { return 1; }"}
	}
	return []testPackage{
		{Name: "libfoo", Version: "1.0", Release: "1",
			Libraries: []testLibrary{lib("/usr/lib64/libfoo.so.1")}},
		{Name: "libfoo", Version: "1.0", Release: "2",
			Libraries: []testLibrary{lib("/opt/lib/a/libfoo.so.1"), lib("/opt/lib/b/libfoo.so.1")}},
		{Name: "libfoo", Version: "1.0", Release: "3",
			Libraries: []testLibrary{{Path: "/usr/lib64/libfoo.so.1", SONAME: "libfoo.so.1",
				Code: "int foo(void) { return 3; }"}}},
	}
}

// TestOddBuild pins all builds but one for which no live patch can be made, and says how to exclude
// it.
func TestOddBuild(t *testing.T) {
	w := packageWorld(t, oddPackages()...)
	res := w.mustRun(t, want("libfoo", "libfoo.so.1"))
	if d := cmp.Diff([]string{"libfoo-1.0-1.x86_64", "libfoo-1.0-3.x86_64"},
		names(res.Lock)); d != "" {
		t.Errorf("builds (-want +got):\n%s", d)
	}
	if len(res.Odd) != 1 || res.Odd[0].Name != "libfoo-1.0-2.x86_64" ||
		!strings.Contains(fmt.Sprint(res.Odd[0].Err), "name one by its path") ||
		!strings.Contains(res.Odd[0].Hint(), `builds: "!= 1.0-2"`) {
		t.Errorf("odd: %+v", res.Odd)
	}
	if _, err := download.ReadLock(w.lock); err != nil {
		t.Error(err)
	}
	res = w.mustRun(t, func(r *download.Request) {
		want("libfoo", "libfoo.so.1")(r)
		r.Packages[0].Builds = mustRange(t, "!= 1.0-2")
	})
	if len(res.Odd) != 0 || len(res.Lock.Builds) != 2 {
		t.Errorf("with the range: odd %+v", res.Odd)
	}
	_, err := w.run(t, func(r *download.Request) {
		want("libfoo", "libfoo.so.1")(r)
		r.Packages[0].Builds = mustRange(t, "= 1.0-2")
	})
	if err == nil || !strings.Contains(err.Error(), "!= 1.0-2") {
		t.Errorf("with the odd build alone: error is %v", err)
	}
}

// TestOddKnown keeps what the lock has of a build that a new patch alone makes odd.
func TestOddKnown(t *testing.T) {
	packages := oddPackages()
	packages[1].Libraries = append(packages[1].Libraries,
		testLibrary{Path: "/usr/lib64/libbar.so.1", SONAME: "libbar.so.1",
			Code: "int bar(void) { return 2; }"})
	packages[0].Libraries = append(packages[0].Libraries,
		testLibrary{Path: "/usr/lib64/libbar.so.1", SONAME: "libbar.so.1",
			Code: "int bar(void) { return 1; }"})
	w := packageWorld(t, packages...)
	former := w.mustRun(t, want("libfoo", "libbar.so.1")).Lock
	res := w.mustRun(t, want("libfoo", "libbar.so.1 libfoo.so.1"))
	if len(res.Odd) != 1 || len(res.Lock.Builds) != 3 || res.Lock.Gone() != 0 {
		t.Fatalf("builds %v, odd %+v", names(res.Lock), res.Odd)
	}
	if d := cmp.Diff(former.Builds[1], res.Lock.Builds[1]); d != "" {
		t.Errorf("the odd build (-former +now):\n%s", d)
	}
}

// TestOddBuildIDs has libraries that live patches cannot identify. Since they are released, the
// error does not ask to link them again.
func TestOddBuildIDs(t *testing.T) {
	ids := map[string]string{ // by release
		"1": "sha1", "2": "md5", "3": "none", "4": "0x01", "5": "0x" + strings.Repeat("ab", 32),
		"6": "0x" + strings.Repeat("cd", 100),
	}
	var packages []testPackage
	for release, id := range ids {
		p := libfoo(release, fooOne)
		p.Libraries[0].BuildID = id
		packages = append(packages, p)
	}
	w := packageWorld(t, packages...)
	res := w.mustRun(t, want("libfoo1", "libfoo.so.1"))
	if d := cmp.Diff([]string{"libfoo1-1-1.x86_64"}, names(res.Lock)); d != "" {
		t.Errorf("builds (-want +got):\n%s", d)
	}
	sizes := []string{"has 16 bytes", "has no build-id", "has 1 byte", "has 32 bytes",
		"not 1 to 64 bytes"}
	if len(res.Odd) != len(sizes) {
		t.Fatalf("odd: %+v", res.Odd)
	}
	for i, want := range sizes {
		text := res.Odd[i].Err.Error()
		if !strings.Contains(text, want) || strings.Contains(text, "-Wl") ||
			!strings.Contains(res.Odd[i].Hint(), fmt.Sprintf("!= 1-%d", i+2)) {
			t.Errorf("%s: %s; %s", res.Odd[i].Name, text, res.Odd[i].Hint())
		}
	}
}

// TestGoneUnsigned warns before it keeps a build that nothing vouches for in a lock of signed
// repositories.
func TestGoneUnsigned(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2, NoDebuginfo: true})
	unsigned := func(r *download.Request) {
		r.Repositories[0].Unsigned, r.Repositories[0].Keys = true, nil
	}
	w.mustRun(t, unsigned)
	w.repo.DebugDir = ""
	w.remove(t, "glibc-*150300.26.5*")
	if l := w.mustRun(t, unsigned).Lock; l.Gone() != 1 || !l.IsUnsigned() {
		t.Errorf("%d gone, unsigned %t", l.Gone(), l.IsUnsigned())
	}
	if _, err := w.run(t, nil); !errors.Is(err, download.ErrGone) ||
		!strings.Contains(err.Error(), "accepted unsigned") {
		t.Errorf("error is %v", err)
	}
	w.options.Forget = true
	if l := w.mustRun(t, nil).Lock; l.IsUnsigned() {
		t.Errorf("the lock counts as unsigned: error is %v", names(l))
	}
}
