package store_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// A disk of 256 KiB, for root.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=256k,mode=0700")
	if errors.Is(err, unix.EPERM) {
		t.Skip("mounting a file system needs root; TestFileSizeLimit tests the same without one")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	fillUp(t, filepath.Join(disk, "store"))
}

// The limit on file sizes is set in another process, since it cannot be lifted again.
func TestFileSizeLimit(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_DIR"); dir != "" {
		fillUp(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFileSizeLimit$", "-test.v")
	cmd.Env = append(os.Environ(), "STORE_TEST_FILE_LIMIT=131072", "STORE_TEST_DIR="+
		filepath.Join(t.TempDir(), "store"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestFileSizeLimit") {
		t.Errorf("%v\n%s", err, out)
	}
}

// fillUp puts too much into a store with little room.
func fillUp(t *testing.T, dir string) {
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := put(t, s, random(32<<10))
	big := random(1 << 20)

	_, err = s.Put(t.Context(), digest.Digest{}, bytes.NewReader(big), 1<<20)
	checkFull(t, "Put", err, dir)
	checkFull(t, "SetRecord", s.SetRecord("kind", "key", big), dir)
	if got := files(t, dir); len(got) != 1 || got[0] != blobName(before) {
		t.Errorf("files %v, want only what was there before", got)
	}

	d := digest.OfBytes(big)
	p := partial(t, s, d)
	n, err := p.Write(big)
	checkFull(t, "Partial.Write", err, dir)
	if p.Size() != int64(n) || n == 0 || n == len(big) {
		t.Errorf("Write = %d, Size() = %d", n, p.Size())
	}
	p.Close()
	if p = partial(t, s, d); p.Size() != int64(n) {
		t.Errorf("part has %d bytes after opening again, want %d", p.Size(), n)
	}
	if f, err := s.OpenVerified(t.Context(), before); err != nil {
		t.Errorf("earlier content: %v", err)
	} else {
		f.Close()
	}
	if s.Has(d) {
		t.Error("incomplete content has its final name")
	}
}

// checkFull checks that an error names the file and gives advice.
func checkFull(t *testing.T, what string, err error, dir string) {
	t.Helper()
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("%s on a full disk: %v", what, err)
	}
	for _, want := range []string{dir, "make room there, or set LPBUILD_CACHE"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %q, want %q in it", what, err, want)
		}
	}
}
