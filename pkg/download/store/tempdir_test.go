package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// TestTempDir uses a directory while others open and prune the store: they leave it alone.
func TestTempDir(t *testing.T) {
	s := open(t)
	dir, err := s.TempDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir.Path, "sub", "in-file")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Prune(t.Context(), func(digest.Digest) bool { return false }); n != 0 ||
		err != nil {
		t.Errorf("Prune = %d, %v", n, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a file of a live process was removed: %v", err)
	}
	if err := dir.Remove(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestTempOfTheDead checks that leftovers of a killed process are removed when the store is next
// opened or pruned.
func TestTempOfTheDead(t *testing.T) {
	s := open(t)
	dead := filepath.Join(s.Dir(), "tmp", "dir-1")
	leave := func() {
		if err := os.MkdirAll(filepath.Join(dead, "lib"), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{filepath.Join(dead, "lib", "file0"),
			filepath.Join(s.Dir(), "tmp", "in-1")} {
			if err := os.WriteFile(name, []byte("1234"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	leave()
	if n, err := s.Prune(t.Context(), func(digest.Digest) bool { return true }); n != 8 ||
		err != nil {
		t.Errorf("Prune = %d, %v; want 8", n, err)
	}
	leave()
	if _, err := store.Open(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestTempDirBesideOpen makes directories while others clean up: no directory in use is removed.
func TestTempDirBesideOpen(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 200 {
				if _, err := store.Open(s.Dir()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		dir, err := s.TempDir(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir.Path, "x"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := dir.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
}

func TestTempDirCancelled(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if dir, err := s.TempDir(ctx); !errors.Is(err, context.Canceled) || dir != nil {
		t.Errorf("TempDir = %v, %v", dir, err)
	}
}
