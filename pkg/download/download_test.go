package download_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestDownload downloads all builds from a signed repository and compares what it pins with the
// files themselves.
func TestDownload(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{})
	res := w.mustRun(t, nil)
	want := []string{
		"glibc-2.31-150300.9.12.1.x86_64", "glibc-2.31-150300.26.5.x86_64",
		"glibc-2.31-150300.63.1.x86_64",
		"glibc-2.38-150600.12.1.x86_64", "glibc-2.38-150600.14.32.1.x86_64",
	}
	if d := cmp.Diff(want, names(res.Lock)); d != "" {
		t.Fatalf("builds, in RPM's order (-want +got):\n%s", d)
	}
	for _, r := range res.Lock.Repositories {
		if r.Key != w.repo.Key.Fingerprint || r.Unsigned || r.Repomd.IsZero() {
			t.Errorf("the lock has the repository %+v", r)
		}
	}
	for i := range res.Lock.Builds {
		w.checkBuild(t, &res.Lock.Builds[i])
	}
	read, err := download.ReadLock(w.lock)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(res.Lock, read); d != "" {
		t.Errorf("the lock file differs from the returned lock (-want +got):\n%s", d)
	}
}

// checkBuild compares a build in the lock with the RPM it was made from.
func (w *world) checkBuild(t *testing.T, b *download.Build) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(b.RPM.URL), ".rpm")
	if d, err := digest.OfFile(filepath.Join(w.repo.Dir, b.Arch, name+".rpm")); err != nil ||
		d != b.RPM.Digest || b.RPM.Key != w.repo.Key.Fingerprint {
		t.Errorf("%s: digest %s, key %s, want %s by %s (%v)", name, b.RPM.Digest, b.RPM.Key, d,
			w.repo.Key.Fingerprint, err)
	}
	lib := libraryOf(b, "libc.so.6")
	if lib == nil || b.Debuginfo == nil || lib.Debuginfo == nil {
		t.Fatalf("%s: no library or no debuginfo: %+v", name, b)
	}
	real, err := symtab.OpenLibrary(w.store.Path(lib.Digest),
		symtab.LibraryOptions{Name: "libc.so.6", Debug: w.store.Path(*lib.Debuginfo)})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(w.dir, lib.Catalogue))
	if err != nil || digest.OfBytes(data) != lib.Pinned {
		t.Fatalf("%s: catalogue %s is not the pinned one: %v", name, lib.Catalogue, err)
	}
	catalogue, err := symtab.ParseCatalogue(data)
	if err != nil {
		t.Fatal(err)
	}
	if !catalogue.HasProofs() {
		t.Errorf("%s: the catalogue does not list the functions that can be replaced without NOPs",
			name)
	}
	// one exported, one static: from debuginfo
	for _, symbol := range []string{"__libc_malloc", "main_arena"} {
		want, known := real.Lookup(symbol)
		got, ok := catalogue.Lookup(symbol)
		if d := cmp.Diff(want, got); !known || !ok || d != "" {
			t.Errorf("%s: %s in the catalogue (-want +got):\n%s", name, symbol, d)
		}
	}
	if want := "catalogue/x86_64/TEST/glibc/" + b.Version + "-" + b.Release + "/libc.so.6-" +
		lib.Pinned.Hex[:16] + ".json"; lib.Catalogue != want {
		t.Errorf("the catalogue is %s, want %s", lib.Catalogue, want)
	}
}

// TestRanges downloads only what version range and age allow.
func TestRanges(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{})
	tests := map[string]struct {
		builds string
		since  time.Duration
		want   []string
	}{
		"range": {">= 2.31-150300.26, < 2.38", 0, []string{"glibc-2.31-150300.26.5.x86_64",
			"glibc-2.31-150300.63.1.x86_64"}},
		"age": {"", 400 * 24 * time.Hour, []string{"glibc-2.31-150300.63.1.x86_64",
			"glibc-2.38-150600.14.32.1.x86_64"}},
		"both": {"< 2.38", 400 * 24 * time.Hour, []string{"glibc-2.31-150300.63.1.x86_64"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			res := w.mustRun(t, func(r *download.Request) {
				r.Packages[0].Builds = mustRange(t, tc.builds)
				if tc.since > 0 {
					r.Packages[0].NotBefore = time.Now().Add(-tc.since)
				}
			})
			if d := cmp.Diff(tc.want, names(res.Lock)); d != "" {
				t.Errorf("builds (-want +got):\n%s", d)
			}
		})
	}
}

func TestNothingFits(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	for name, change := range map[string]func(*download.Request){
		"no such version": func(r *download.Request) { r.Packages[0].Builds = mustRange(t, "> 3") },
		"no such package": func(r *download.Request) { r.Packages[0].Name = "musl" },
		"no such library": func(r *download.Request) { r.Libraries = []string{"libc.so.7"} },
		"no such arch":    func(r *download.Request) { r.Arch = []string{"ppc64le"} },
	} {
		if _, err := w.run(t, change); !errors.Is(err, download.ErrNotOffered) {
			t.Errorf("%s: error is %v, want ErrNotOffered", name, err)
		}
	}
}

// TestMetadataCompressions reads primary.xml in each compression, with both kinds of keys and both
// packet versions.
func TestMetadataCompressions(t *testing.T) {
	for name, o := range map[string]distro.StandardOptions{
		"gz, RSA": {Builds: 2, Compression: "gz"},
		"zst, version 3": {Builds: 2, Compression: "zst",
			KeyOptions: distro.KeyOptions{V3Signatures: true}},
		"xz, Ed25519": {Builds: 2, Compression: "xz",
			KeyOptions: distro.KeyOptions{Algorithm: "ed25519"}},
		"bz2, RSA subkey": {Builds: 2, Compression: "bz2",
			KeyOptions: distro.KeyOptions{Subkey: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := distro.CanSignV3(); err != nil && o.KeyOptions.V3Signatures {
				t.Skip(err)
			}
			w := newWorld(t, o)
			if n := len(w.mustRun(t, nil).Lock.Builds); n != 2 {
				t.Errorf("%d builds, want 2", n)
			}
		})
	}
}

// TestNothingTwice fetches each file once, however often it is asked for: a second run requests
// only repomd.xml and its signature.
func TestNothingTwice(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	first := w.mustRun(t, nil)
	for _, r := range w.server.Requests("*.rpm") {
		if r.Status != 200 {
			t.Errorf("%s: status %d", r.Path, r.Status)
		}
	}
	if n := len(w.server.Requests("*.rpm")); n != 4 {
		t.Errorf("%d requests for 4 RPMs", n)
	}
	w.server.Forget()
	second := w.mustRun(t, nil)
	for _, r := range w.server.Requests("") {
		if base := filepath.Base(r.Path); base != "repomd.xml" && base != "repomd.xml.asc" {
			t.Errorf("the second run fetched %s", r.Path)
		}
	}
	if d := cmp.Diff(first.Lock, second.Lock); d != "" {
		t.Errorf("the second run's lock differs:\n%s", d)
	}
	if len(first.Added) != 2 || len(second.Added) != 0 || len(second.Removed) != 0 {
		t.Errorf("added %v, then %v; removed %v", first.Added, second.Added, second.Removed)
	}
	// Another package directory with the same store.
	w.server.Forget()
	w.newDir(t)
	w.mustRun(t, nil)
	if n := len(w.server.Requests("*.rpm")); n != 0 {
		t.Errorf("another directory fetched %d RPMs again", n)
	}
}

// TestTwoAtOnce downloads into two directories with one store at the same time, from files.
func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{})
	local := func(r *download.Request) {
		debug := location(t, w.repo.DebugDir)
		r.Repositories[0].Main, r.Repositories[0].Debuginfo = location(t, w.repo.Dir), &debug
	}
	var wg sync.WaitGroup
	for range 4 {
		other := &world{ctx: w.ctx, repo: w.repo, root: w.root, server: w.server, store: w.store}
		other.newDir(t)
		wg.Go(func() {
			if res, err := other.run(t, local); err != nil || len(res.Lock.Builds) != 5 {
				t.Errorf("%v, %v", res, err)
			}
		})
	}
	wg.Wait()
	checkStore(t, w.store)
}

// TestUnsigned accepts an unsigned repository if asked to, and always warns.
func TestUnsigned(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, Unsigned: true})
	res := w.mustRun(t, nil)
	if !res.Lock.IsUnsigned() || !res.Lock.Builds[0].RPM.Unsigned ||
		res.Lock.Builds[0].RPM.Key != "" {
		t.Errorf("the lock does not record that nothing is signed: %+v", res.Lock)
	}
	if !strings.Contains(strings.Join(w.warnings, "\n"), "UNSIGNED") {
		t.Errorf("no warning: %q", w.warnings)
	}
}

// TestWithoutDebuginfo uses the library's own symbols.
func TestWithoutDebuginfo(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	res := w.mustRun(t, nil)
	if res.Lock.Builds[0].Debuginfo != nil ||
		!strings.Contains(strings.Join(w.warnings, "\n"), "no debuginfo") {
		t.Errorf("debuginfo %v, warnings %q", res.Lock.Builds[0].Debuginfo, w.warnings)
	}
}

// TestMergedLibrary finds libpthread's functions in the library that has them in each build.
func TestMergedLibrary(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 4})
	res := w.mustRun(t, func(r *download.Request) {
		r.Libraries = []string{"libpthread.so.0", "libc.so.6"}
	})
	for i, want := range []string{"/lib64/libpthread-2.31.so", "", "", "/lib64/libc.so.6"} {
		lib := libraryOf(&res.Lock.Builds[i], "libpthread.so.0")
		if lib == nil || want != "" && lib.Path != want {
			t.Errorf("%s has libpthread.so.0 in %+v, want %s", res.Lock.Builds[i].NEVRA(), lib,
				want)
		}
	}
}

// TestSameBuildTwice finds one build in two repositories, and records it once.
func TestSameBuildTwice(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	res := w.mustRun(t, func(r *download.Request) {
		r.Repositories = append(r.Repositories, r.Repositories[0])
	})
	if d := cmp.Diff([]string{"glibc-2.31-150300.9.12.1.x86_64", "glibc-2.31-150300.26.5.x86_64"},
		names(res.Lock)); d != "" {
		t.Errorf("builds (-want +got):\n%s", d)
	}
}

// TestConflict rejects two builds of one name with different libraries.
func TestConflict(t *testing.T) {
	extra := func(variant int) []distro.Build {
		return []distro.Build{{Name: "glibc", Version: "2.31", Release: "150300.1.1",
			Variant: variant}}
	}
	w := newWorld(t, distro.StandardOptions{Builds: 1, Extra: extra(1)})
	other := newWorld(t, distro.StandardOptions{Builds: 1, Extra: extra(2)})
	_, err := w.run(t, func(r *download.Request) {
		r.Repositories = append(r.Repositories, other.source(t))
	})
	if !errors.Is(err, download.ErrConflict) {
		t.Errorf("error is %v, want ErrConflict", err)
	}
}

// TestOffline restores the catalogue from lock and store without the network.
func TestOffline(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	lock := w.mustRun(t, nil).Lock
	if err := os.RemoveAll(filepath.Join(w.dir, download.CatalogueDir)); err != nil {
		t.Fatal(err)
	}
	w.server.Close()
	if _, err := download.Offline(t.Context(), w.lock, w.dir, w.store); err != nil {
		t.Fatal(err)
	}
	for _, name := range lock.Files() {
		if _, err := os.Stat(filepath.Join(w.dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := os.Remove(w.store.Path(lock.Builds[0].Libraries[0].Pinned)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, download.CatalogueDir)); err != nil {
		t.Fatal(err)
	}
	if _, err := download.Offline(t.Context(), w.lock, w.dir, w.store); !errors.Is(err,
		download.ErrNotStored) {
		t.Errorf("error is %v, want ErrNotStored", err)
	}
}

// TestRepositoryShrinks drops builds that are gone from lock and catalogue, and reports them.
func TestRepositoryShrinks(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	first := w.mustRun(t, nil)
	gone := first.Lock.Builds[0]
	res := w.mustRun(t, func(r *download.Request) {
		r.Packages[0].Builds = mustRange(t, ">= 2.31-150300.26")
	})
	if d := cmp.Diff([]string{gone.NEVRA()}, res.Removed); d != "" {
		t.Errorf("removed (-want +got):\n%s", d)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Join(w.dir,
		gone.Libraries[0].Catalogue))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the catalogue of %s is still there: %v", gone.NEVRA(), err)
	}
}

// TestCancelled leaves no lock, and the next run completes the download.
func TestCancelled(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	ctx, cancel := context.WithCancel(t.Context())
	w.server.Misbehave(distro.Fault{Path: "*.rpm", Stall: true, After: 100})
	go func() {
		for partSize(t, w.store) < 100 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	w.ctx = ctx
	if _, err := w.run(t, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
	if _, err := os.Stat(w.lock); err == nil {
		t.Error("a lock was written")
	}
	w.ctx = t.Context()
	w.server.Behave()
	w.mustRun(t, nil)
}

// libraryOf returns the only library of that name, or nil.
func libraryOf(b *download.Build, name string) *download.Library {
	if named := b.LibrariesNamed(name); len(named) == 1 {
		return named[0]
	}
	return nil
}
