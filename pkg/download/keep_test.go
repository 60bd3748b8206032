package download_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

// withoutDebuginfo makes a request for other catalogues of the same builds.
func withoutDebuginfo(r *download.Request) { r.Repositories[0].Debuginfo = nil }

// files returns all files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLockCannotBeWritten fails in the last step: lock and catalogue stay as they were.
func TestLockCannotBeWritten(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	disk := smallDisk(t, "size=1m")
	w.lock = filepath.Join(disk, "lpbuild.lock")
	former := w.mustRun(t, nil).Lock
	before := files(t, w.dir)
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := w.run(t, withoutDebuginfo); !errors.Is(err, unix.EROFS) ||
		!strings.Contains(err.Error(), disk) {
		t.Fatalf("error is %v, want EROFS with the lock's name", err)
	}
	w.mustBeWhole(t, former, before)
}

// TestLockIsADirectory fails at the lock when there is no readable former one.
func TestLockIsADirectory(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	former := w.mustRun(t, nil).Lock
	before := files(t, w.dir)
	kept := w.lock
	w.lock = t.TempDir()
	if _, err := w.run(t, withoutDebuginfo); err == nil || !strings.Contains(err.Error(), w.lock) {
		t.Fatalf("error is %v, want %s in it", err, w.lock)
	}
	w.lock = kept
	w.mustBeWhole(t, former, before)
}

// mustBeWhole checks that lock and catalogue are unchanged.
func (w *world) mustBeWhole(t *testing.T, former *download.Lock, before []string) {
	t.Helper()
	lock, err := download.ReadLock(w.lock)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.CheckFiles(w.dir); err != nil || !slices.Equal(lock.Files(), former.Files()) {
		t.Errorf("the former lock has the files %q, want %q: %v", lock.Files(), former.Files(), err)
	}
	if after := files(t, w.dir); !slices.Equal(after, before) {
		t.Errorf("the directory has %q, had %q", after, before)
	}
}

// TestKilledCatalogue removes files that a killed download left in the catalogue, and nobody
// else's.
func TestKilledCatalogue(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	lock := w.mustRun(t, nil).Lock
	catalogue := filepath.Dir(filepath.Join(w.dir, lock.Builds[0].Exports.File))
	left := filepath.Join(catalogue, "libc.so.6-"+digest.OfBytes([]byte("{}")).Hex[:16]+".json")
	foreign := []string{filepath.Join(catalogue, "mine.json"),
		filepath.Join(catalogue, "mine-0123456789abcdef.json")}
	// perhaps of a download in progress
	fresh := filepath.Join(catalogue, "exports-"+digest.OfBytes([]byte("[]")).Hex[:16]+".json")
	writeFile(t, fresh, "[]")
	for _, name := range append(foreign, left) {
		writeFile(t, name, "{}")
		if then := time.Now().Add(-48 * time.Hour); os.Chtimes(name, then, then) != nil {
			t.Fatal(name)
		}
	}
	w.mustRun(t, nil)
	now := files(t, w.dir)
	if slices.Contains(now, left) || !slices.Contains(now, foreign[0]) ||
		!slices.Contains(now, foreign[1]) || !slices.Contains(now, fresh) {
		t.Errorf("the files are now %q", now)
	}
	if err := lock.CheckFiles(w.dir); err != nil {
		t.Error(err)
	}
}

// TestDamagedCatalogue makes catalogues again that are damaged in the store and in the directory.
func TestDamagedCatalogue(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	b := w.mustRun(t, nil).Lock.Builds[0]
	for _, d := range []digest.Digest{b.Libraries[0].Pinned, b.Exports.Digest} {
		if err := os.Chmod(w.store.Path(d), 0o600); err != nil {
			t.Fatal(err)
		}
		writeFile(t, w.store.Path(d), "{}")
		if err := os.RemoveAll(filepath.Join(w.dir, download.CatalogueDir)); err != nil {
			t.Fatal(err)
		}
		w.server.Forget()
		lock := w.mustRun(t, nil).Lock
		if err := lock.CheckFiles(w.dir); err != nil {
			t.Error(err)
		}
		if n := len(w.server.Requests("*.rpm")); n != 0 {
			t.Errorf("%d RPMs were fetched again", n)
		}
		checkStore(t, w.store)
	}
	writeFile(t, filepath.Join(w.dir, b.Exports.File), "{}")
	if err := w.mustRun(t, nil).Lock.CheckFiles(w.dir); err != nil {
		t.Error(err)
	}
}

// TestDamagedCatalogueOffline has no source to make it from, and says what to do; the next run with
// the network works.
func TestDamagedCatalogueOffline(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	lock := w.mustRun(t, nil).Lock
	if err := os.RemoveAll(filepath.Join(w.dir, download.CatalogueDir)); err != nil {
		t.Fatal(err)
	}
	name := w.store.Path(lock.Builds[0].Exports.Digest)
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, name, "{}")
	_, err := download.Offline(t.Context(), w.lock, w.dir, w.store)
	if !errors.Is(err, download.ErrNotStored) || !errors.Is(err, digest.ErrMismatch) ||
		!strings.Contains(err.Error(), "run lpbuild download") {
		t.Errorf("error is %v, want ErrNotStored for a damaged file", err)
	}
	if err := w.mustRun(t, nil).Lock.CheckFiles(w.dir); err != nil {
		t.Error(err)
	}
}

// TestLostLibrary restores a library in the store whose catalogue is still there.
func TestLostLibrary(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	lib := w.mustRun(t, nil).Lock.Builds[0].Libraries[0]
	for _, d := range []digest.Digest{lib.Digest, *lib.Debuginfo} {
		if err := os.Remove(w.store.Path(d)); err != nil {
			t.Fatal(err)
		}
		w.mustRun(t, nil)
		if !w.store.Has(d) {
			t.Errorf("%s is not in the store", d)
		}
	}
}

// TestTemporaryFiles are on the store's disk, where the next run finds those of a killed one, and
// nowhere else.
func TestTemporaryFiles(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 5})
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	w.mustRun(t, nil)
	if left := files(t, filepath.Join(w.store.Dir(), "tmp")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestFailureIsNotReportedAsDone reports no file as fetched or unpacked when that failed.
func TestFailureIsNotReportedAsDone(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	w.server.Misbehave(distro.Fault{Path: "glibc-2*.rpm", Status: 404})
	if _, err := w.run(t, nil); err == nil {
		t.Fatal("no error")
	}
	// once for each attempt to read the repository
	if n := len(w.server.Requests("glibc-2*.rpm")); n != 2 {
		t.Errorf("%d requests for a missing file", n)
	}
	if slices.ContainsFunc(w.done, func(s string) bool { return strings.Contains(s, "glibc-2") }) {
		t.Errorf("reported as done: %q", w.done)
	}
	w.server.Behave()
	w.server.Misbehave(distro.Fault{Path: "glibc-debuginfo*.rpm", Status: 404})
	if _, err := w.run(t, nil); err == nil {
		t.Fatal("no error")
	}
	if slices.ContainsFunc(w.done, func(s string) bool {
		return strings.HasPrefix(s, "extract") || strings.Contains(s, "debuginfo")
	}) {
		t.Errorf("reported as done: %q", w.done)
	}
	w.server.Behave()
	w.mustRun(t, nil)
	for _, want := range []string{"fetch glibc-2.31-150300.9.12.1.x86_64.rpm",
		"extract glibc-2.31-150300.9.12.1.x86_64"} {
		if !slices.Contains(w.done, want) {
			t.Errorf("%q is not in %q", want, w.done)
		}
	}
}

// TestSecretsAreNowhere looks for a token in everything that a download prints and writes.
func TestSecretsAreNowhere(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	var said []string
	req := download.Request{
		Product: "TEST", Arch: []string{"x86_64"}, Packages: []download.Package{{Name: "glibc"}},
		Libraries:    []string{"libc.so.6"},
		Repositories: []download.Source{w.source(t)},
	}
	debug := location(t, w.server.URL+"/update_debug?"+secret)
	req.Repositories[0].Main, req.Repositories[0].Debuginfo = location(t, w.server.URL+"/update?"+
		secret), &debug
	for _, keys := range []*pgp.Keyring{req.Repositories[0].Keys, nil} {
		req.Repositories[0].Keys, req.Repositories[0].Unsigned = keys, keys == nil
		_, err := download.Run(w.ctx, req, download.Options{Dir: w.dir, Lock: w.lock,
			Store: w.store, Jobs: 1, Progress: func(e progress.Event) {
				said = append(said, e.Stage+" "+e.Task+" "+e.Note)
			}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if all := strings.Join(said, "\n"); strings.Contains(all, secret) ||
		!strings.Contains(all, "UNSIGNED") {
		t.Errorf("said: %s", all)
	}
	for _, name := range append(files(t, w.dir), files(t, w.store.Dir())...) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), secret) || strings.Contains(name, secret) {
			t.Errorf("the token is in %s", name)
		}
	}
}
