package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// TestMain also serves as the program that tests run as another process: see child.
func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == "hold-part" {
		holdPart(os.Args[2], os.Args[3])
		return
	}
	if limit := os.Getenv("STORE_TEST_FILE_LIMIT"); limit != "" {
		var most uint64
		fmt.Sscan(limit, &most)
		signal.Ignore(syscall.SIGXFSZ)
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE,
			&unix.Rlimit{Cur: most, Max: most}); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// holdPart writes the beginning of some content as a part, reports that, and sleeps while it holds
// the lock.
func holdPart(dir, d string) {
	parsed, err := digest.Parse(d)
	check(err)
	s, err := store.Open(dir)
	check(err)
	p, err := s.Partial(context.Background(), parsed)
	check(err)
	_, err = p.Write([]byte("begun "))
	check(err)
	fmt.Println("held")
	time.Sleep(time.Minute)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// startHolder starts another process that holds the part of d, and returns once it does.
func startHolder(t *testing.T, dir string, d digest.Digest) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "hold-part", dir, d.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line := make([]byte, 100)
	if n, _ := out.Read(line); string(line[:n]) != "held\n" {
		t.Fatalf("holder: %s", line[:n])
	}
	return cmd
}

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// put puts content into the store and returns its digest.
func put(t *testing.T, s *store.Store, content []byte) digest.Digest {
	t.Helper()
	d, err := s.Put(t.Context(), digest.Digest{}, bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// partial opens a part.
func partial(t *testing.T, s *store.Store, d digest.Digest) *store.Partial {
	t.Helper()
	p, err := s.Partial(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func write(t *testing.T, p *store.Partial, text string) {
	t.Helper()
	if n, err := p.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
}

// files returns the regular files below dir, relative to it.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// random returns content that no other test has.
func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// blobName returns the path of content below the store's directory.
func blobName(d digest.Digest) string {
	return filepath.Join("blobs", d.Algorithm, d.Hex[:2], d.Hex)
}
