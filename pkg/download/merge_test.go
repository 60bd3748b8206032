package download_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
)

// libfoo returns a package with one library.
func libfoo(release, code string) testPackage {
	return testPackage{Name: "libfoo1", Version: "1", Release: release, Libraries: []testLibrary{
		{Path: "/usr/lib64/libfoo.so.1", SONAME: "libfoo.so.1", Code: code},
	}}
}

const (
	fooOne   = "int foo_one(void) { return 1; }"
	fooTwo   = "int foo_two(void) { return 2; }"
	fooOther = "int foo_one(void) { return 11; }" // the same exports, another build
)

// TestTwoPackages downloads one package to patch and one that patches may call. Of the latter every
// build with exports of its own is kept, without libraries.
func TestTwoPackages(t *testing.T) {
	w := packageWorld(t, libfoo("1", fooOne), libfoo("2", fooTwo), libfoo("3", fooOther),
		testPackage{Name: "empty", Version: "1", Release: "1",
			Links: map[string]string{"/usr/share/empty": "nowhere"}})
	glibc := newWorld(t, distro.StandardOptions{Builds: 1})
	res, err := w.run(t, func(r *download.Request) {
		want("glibc libfoo1 empty", "libc.so.6")(r)
		r.Repositories = append(r.Repositories, glibc.source(t))
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"glibc-2.31-150300.9.12.1.x86_64", "libfoo1-1-1.x86_64",
		"libfoo1-1-2.x86_64"}, names(res.Lock)); d != "" {
		t.Fatalf("builds (-want +got):\n%s", d)
	}
	if n := res.Lock.Patched(); n != 1 || !res.Lock.Builds[0].IsPatched() {
		t.Errorf("%d builds are patched, want glibc's", n)
	}
	for i, symbol := range []string{"foo_one", "foo_two"} {
		b := &res.Lock.Builds[i+1]
		want := download.ExportedLibrary{Path: "/usr/lib64/libfoo.so.1", Symbols: []string{symbol}}
		if d := cmp.Diff(want, w.exportsOf(t, b).Libraries["libfoo.so.1"]); d != "" ||
			len(b.Libraries) != 0 || b.Debuginfo != nil {
			t.Errorf("%s: %+v exports (-want +got):\n%s", b.NEVRA(), b, d)
		}
	}
	if d := cmp.Diff([]string{"libfoo1-1-3.x86_64"}, res.Lock.Builds[1].Also); d != "" {
		t.Errorf("builds with the same exports (-want +got):\n%s", d)
	}
	read, err := download.ReadLock(w.lock)
	if d := cmp.Diff(res.Lock, read); err != nil || d != "" {
		t.Errorf("the lock file differs from the lock: %v (-want +got):\n%s", err, d)
	}
	again := w.mustRun(t, func(r *download.Request) {
		want("glibc libfoo1 empty", "libc.so.6")(r)
		r.Repositories = append(r.Repositories, glibc.source(t))
	})
	if d := cmp.Diff(res.Lock, again.Lock); d != "" {
		t.Errorf("the second run's lock differs (-want +got):\n%s", d)
	}
}

// TestAlso finds the very same library in two releases: one build, which lists the other release.
func TestAlso(t *testing.T) {
	w := packageWorld(t, libfoo("1", fooOne), libfoo("2", fooOne), libfoo("3", fooOther))
	res := w.mustRun(t, want("libfoo1", "libfoo.so.1"))
	if d := cmp.Diff([]string{"libfoo1-1-1.x86_64", "libfoo1-1-3.x86_64"},
		names(res.Lock)); d != "" {
		t.Fatalf("builds (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"libfoo1-1-2.x86_64"}, res.Lock.Builds[0].Also); d != "" {
		t.Errorf("also (-want +got):\n%s", d)
	}
}

// TestOneNameTwice finds two RPMs of one name. They are one build if their libraries are the same
// and a conflict otherwise, whether or not a patch names one of these libraries.
func TestOneNameTwice(t *testing.T) {
	gzip := libfoo("1", fooOne)
	gzip.Payload = "w9.gzdio"
	w, repacked, other := packageWorld(t, libfoo("1", fooOne), libfoo("2", fooTwo)),
		packageWorld(t, gzip), packageWorld(t, libfoo("1", fooTwo))
	for name, libraries := range map[string]string{"patched": "libfoo.so.1",
		"for its exports": ""} {
		t.Run(name, func(t *testing.T) {
			with := func(second *world) func(*download.Request) {
				return func(r *download.Request) {
					want("libfoo1", libraries)(r)
					r.Repositories = append(r.Repositories, second.source(t))
				}
			}
			res := w.mustRun(t, with(repacked))
			if d := cmp.Diff([]string{"libfoo1-1-1.x86_64", "libfoo1-1-2.x86_64"},
				names(res.Lock)); d != "" || res.Lock.Builds[0].Also != nil {
				t.Errorf("also %v, builds (-want +got):\n%s", res.Lock.Builds[0].Also, d)
			}
			_, err := w.run(t, with(other))
			if !errors.Is(err, download.ErrConflict) {
				t.Fatalf("error is %v, want ErrConflict", err)
			}
			for _, part := range []string{"libfoo1-1-1.x86_64", w.server.URL, other.server.URL} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not name %s", err, part)
				}
			}
		})
	}
}
