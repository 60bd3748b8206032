package ulpcli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wantFile checks a file's content and mode, and that it is alone in its directory but for the
// others.
func wantFile(t *testing.T, path, content string, mode fs.FileMode, others ...string) {
	t.Helper()
	data, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err := errors.Join(err, statErr); err != nil {
		t.Fatal(err)
	}
	if string(data) != content || info.Mode() != mode {
		t.Errorf("%s is %q, %v; want %q, %v", path, data, info.Mode(), content, mode)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1+len(others) {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

func put(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o644),
		os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lib.so")
	for _, mode := range []fs.FileMode{0o640, 0o640} { // a new file, then a former one
		if err := writeFile(path, []byte("new"), mode); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, "new", 0o640)
	}
	put(t, path, "old", 0o755|fs.ModeSetuid)
	if err := writeFile(path, []byte("newer"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "newer", 0o755|fs.ModeSetuid)
	link := filepath.Join(filepath.Dir(path), "link.so")
	if err := errors.Join(os.Symlink("lib.so", link), writeFile(link, []byte("newest"),
		0o600)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "newest", 0o755|fs.ModeSetuid, "link.so")
	if to, err := os.Readlink(link); to != "lib.so" {
		t.Errorf("the link is %q, %v", to, err)
	}
}

func TestWriteFileKeepsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "lib.so")
	put(t, path, "old", 0o644)
	if err := errors.Join(os.Chown(path, 12, 34), os.Chmod(path, 0o755|fs.ModeSetuid),
		writeFile(path, []byte("new"), 0o600)); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "new", 0o755|fs.ModeSetuid)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12 || st.Gid != 34 {
		t.Errorf("owner is %d:%d", st.Uid, st.Gid)
	}
}

// asNobody runs f without the rights of root over files: those of the thread, which ends with it.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := syscall.Setfsuid(65534)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A directory that cannot be written to leaves the file as it was, and the error says why.
func TestWriteFileReadOnlyFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ro")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "lib.so")
	put(t, path, "old", 0o666)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	// So that nobody gets there.
	for d := filepath.Dir(dir); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	for _, name := range []string{"lib.so", "new.so"} {
		var err error
		asNobody(t, func() { err = writeFile(filepath.Join(dir, name), []byte("new"), 0o755) })
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(),
			name+" was not changed: the directory "+dir+" must be writable") {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantFile(t, path, "old", 0o666)
}

func TestWriteFileRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"dangling": "a dangling symbolic link",
		"gone/x":   "no such file or directory",
		".":        "is a directory",
	} {
		if err := writeFile(filepath.Join(dir, name), nil, 0o644); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

// What is not a regular file is written to, never replaced: as root that would be the end of
// /dev/null.
func TestWriteFileThroughPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		data, _ := os.ReadFile(path)
		read <- string(data)
	}()
	if err := writeFile(path, []byte("through"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "through" {
		t.Errorf("read %q", got)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("%v, %v", info, err)
	}
	if err := writeFile(os.DevNull, []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
}

func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	path, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	put(t, path, "12345", 0o600)
	if data, err := readRegular(path, 5); string(data) != "12345" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for name, want := range map[string]string{path: "larger than 4 B", fifo: "not a regular file",
		dir: "not a regular file", "/dev/zero": "not a regular file"} {
		if data, err := readRegular(name, 4); data != nil || err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", name, data, err, want)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestReason(t *testing.T) {
	path := func(p string) error { return &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist} }
	for _, tc := range []struct {
		err  error
		want string
	}{
		{path("a.so"), "file does not exist"},
		{path("b.debug"), "open b.debug: file does not exist"},
		{errors.New("a.so: neither"), "neither"},
		{errors.New("other"), "other"},
	} {
		if got := reason(tc.err, "a.so"); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.err, got, tc.want)
		}
	}
}
