package download_test

import (
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/distro"
	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/download/repofile"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// TestRepoFile uses the repositories of a .repo file as zypper does, with variables and
// credentials.
func TestRepoFile(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	dir := t.TempDir()
	repo := "[update]\nname=Updates\nenabled=1\nbaseurl=" + w.server.URL +
		"/$kind/?credentials=SCC\ntype=rpm-md\n" +
		"[old]\nname=Old\nenabled=0\nbaseurl=" + w.server.URL + "/nothing\n"
	repo = strings.Replace(repo, "$kind", "up${arch_:-date}", 1)
	for name, text := range map[string]string{"sle.repo": repo,
		"credentials.d/SCC": "username=jane\npassword=" + secret + "\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	res := w.mustRun(t, func(r *download.Request) {
		r.Repositories[0].Main = location(t, filepath.Join(dir, "sle.repo"))
		r.CredentialsDir = filepath.Join(dir, "credentials.d")
	})
	if d := res.Lock.Repositories[0].URL; !strings.HasPrefix(d, w.server.URL+"/update") {
		t.Errorf("the lock names repository %s", d)
	}
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("jane:"+secret))
	for _, r := range w.server.Requests("") {
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s was requested with the authorization %q", r.Path, got)
		}
	}
	if lock, err := os.ReadFile(w.lock); err != nil || strings.Contains(string(lock), secret) ||
		strings.Contains(string(lock), "jane") {
		t.Errorf("credentials are in the lock (%v)", err)
	}
}

// TestReleaseVersion is given by the request alone.
func TestReleaseVersion(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	for version, variable := range map[string]string{"update": "$releasever",
		"update.5": "${releasever_major}"} {
		ask := fromRepo(t, "baseurl="+w.server.URL+"/"+variable+"\n")
		w.mustRun(t, func(r *download.Request) {
			ask(r)
			r.ReleaseVersion = version
		})
		_, err := w.run(t, ask)
		if _, is := errors.AsType[*repofile.VariableError](err); !is ||
			!strings.Contains(err.Error(), "--releasever") ||
			!strings.Contains(err.Error(), "TEST") {
			t.Errorf("%s: error is %v", variable, err)
		}
	}
	// zypper's way to ask whether a repository exists
	ask := fromRepo(t, "baseurl="+w.server.URL+"/up${releasever:+none}date\n")
	if got := w.mustRun(t, ask).Lock.Repositories[0].URL; got != w.server.URL+"/update" {
		t.Errorf("got %s", got)
	}
}

func TestRepoFileWithNothingEnabled(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 1, NoDebuginfo: true})
	file := filepath.Join(t.TempDir(), "x.repo")
	if err := os.WriteFile(file, []byte("[x]\nname=X\nenabled=0\nbaseurl=http://localhost/\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	_, err := w.run(t, func(r *download.Request) { r.Repositories[0].Main = location(t, file) })
	if err == nil || !strings.Contains(err.Error(), "none of its repositories is enabled") {
		t.Errorf("error is %v", err)
	}
}

// TestFullDisk runs out of space in the store: the error names the file and says what to do, and
// the former lock stays.
func TestFullDisk(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	disk := smallDisk(t, "size=64k")
	var err error
	if w.store, err = store.Open(filepath.Join(disk, "store")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.lock,
		[]byte("{\"format\":1,\"product\":\"X\",\"repositories\":[],\"builds\":[]}"),
		0o644); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(w.lock)
	_, err = w.run(t, nil)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), disk) ||
		!strings.Contains(err.Error(), w.server.URL) {
		t.Errorf("error is %v, want ENOSPC with the file and the URL", err)
	}
	if after, _ := os.ReadFile(w.lock); string(after) != string(before) {
		t.Error("the former lock is gone")
	}
	checkStore(t, w.store)
}

// checkStore checks that the content of every file under a final name matches that name.
func checkStore(t *testing.T, st *store.Store) {
	t.Helper()
	err := filepath.Walk(filepath.Join(st.Dir(), "blobs"),
		func(name string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() {
				return err
			}
			if d := digestOf(t, name); d.Hex != filepath.Base(name) {
				t.Errorf("%s holds %s", name, d)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
}

// childVariable makes the test binary run a download for TestKilled instead of its tests.
const childVariable = "LPBUILD_TEST_DOWNLOAD"

// TestKilled kills a download half-way. No file is incomplete, and the next run fetches only what
// is missing.
func TestKilled(t *testing.T) {
	if config := os.Getenv(childVariable); config != "" {
		t.Fatalf("the download ended before it was killed: %v", downloadAsChild(t, config))
	}
	w := newWorld(t, distro.StandardOptions{Builds: 1})
	rpm := filepath.Join(w.repo.Dir, "x86_64", "glibc-2.31-150300.9.12.1.x86_64.rpm")
	info, err := os.Stat(rpm)
	if err != nil {
		t.Fatal(err)
	}
	w.server.Misbehave(distro.Fault{Path: "glibc-2*.rpm", Stall: true, After: info.Size() / 2})
	cmd := w.child(t, "TestKilled", w.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); partSize(t,
		w.store) < info.Size()/2; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the child downloads nothing")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	for deadline := time.Now().Add(60 * time.Second); len(
		w.server.Requests("glibc-2*.rpm")) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server did not notice that the child is gone")
		}
	}
	if _, err := os.Stat(w.lock); err == nil {
		t.Error("a lock was written")
	}
	checkStore(t, w.store)
	w.server.Behave()
	w.server.Forget()
	w.mustRun(t, nil)
	if sent := w.server.Bytes("glibc-2*.rpm"); sent > info.Size()/2+1 {
		t.Errorf("%d of %d bytes were sent twice", sent, info.Size())
	}
	checkStore(t, w.store)
}

// partSize returns the size of the largest download in progress.
func partSize(t *testing.T, st *store.Store) (largest int64) {
	t.Helper()
	parts, err := os.ReadDir(filepath.Join(st.Dir(), "parts"))
	if err != nil {
		t.Error(err)
	}
	for _, p := range parts {
		if info, err := p.Info(); err == nil {
			largest = max(largest, info.Size())
		}
	}
	return largest
}

// child starts another process of this test that downloads into dir.
func (w *world) child(t *testing.T, test, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+test+"$")
	cmd.Env = append(os.Environ(), childVariable+"="+
		strings.Join([]string{w.server.URL, dir, w.store.Dir(), filepath.Join(w.root, "key.asc")},
			"\n"))
	return cmd
}

func downloadAsChild(t *testing.T, config string) error {
	part := strings.Split(config, "\n")
	key, err := os.ReadFile(part[3])
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(part[2])
	if err != nil {
		t.Fatal(err)
	}
	debug := location(t, part[0]+"/update_debug")
	_, err = download.Run(t.Context(), download.Request{
		Product: "TEST", Arch: []string{"x86_64"}, Packages: []download.Package{{Name: "glibc"}},
		Libraries: []string{"libc.so.6"},
		Repositories: []download.Source{{Main: location(t, part[0]+"/update"), Debuginfo: &debug,
			Keys: keyring(t, key)}},
	}, download.Options{Dir: part[1], Lock: filepath.Join(part[1], "lpbuild.lock"), Store: st})
	return err
}

// TestProcessesShare runs several downloads with one store at once: each file is fetched by one of
// them.
func TestProcessesShare(t *testing.T) {
	if config := os.Getenv(childVariable); config != "" {
		if err := downloadAsChild(t, config); err != nil {
			t.Fatal(err)
		}
		return
	}
	w := newWorld(t, distro.StandardOptions{Builds: 3})
	// slow enough for all processes to want the same file
	w.server.Misbehave(distro.Fault{Path: "*.rpm", BytesPerSecond: 1 << 20})
	dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
	var wg sync.WaitGroup
	for _, dir := range dirs {
		wg.Go(func() {
			if out, err := w.child(t, "TestProcessesShare", dir).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	if n := len(w.server.Requests("*.rpm")); n != 6 {
		t.Errorf("%d requests for 6 RPMs", n)
	}
	first, err := os.ReadFile(filepath.Join(dirs[0], "lpbuild.lock"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs[1:] {
		if other, err := os.ReadFile(filepath.Join(dir, "lpbuild.lock")); err != nil ||
			string(other) != string(first) {
			t.Errorf("the locks of two processes differ (%v)", err)
		}
	}
	checkStore(t, w.store)
	if left := files(t, filepath.Join(w.store.Dir(), "tmp")); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestFullDirectory runs out of space in the package directory: the former lock and its catalogue
// stay, and no file is incomplete.
func TestFullDirectory(t *testing.T) {
	w := newWorld(t, distro.StandardOptions{Builds: 2})
	w.dir = smallDisk(t, "size=256k")
	w.lock = filepath.Join(w.dir, "lpbuild.lock")
	former := w.mustRun(t, nil).Lock
	before := files(t, w.dir)
	filler := filepath.Join(w.dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o644); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if _, err := w.run(t, withoutDebuginfo); !errors.Is(err, unix.ENOSPC) ||
		!strings.Contains(err.Error(), w.dir) {
		t.Errorf("error is %v, want ENOSPC with the file", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	w.mustBeWhole(t, former, before)
}

// smallDisk mounts a file system of the given size.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, options); errors.Is(err, unix.EPERM) {
		t.Skip("root may not mount file systems here")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	return disk
}
