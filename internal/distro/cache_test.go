package distro

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ownCache makes the test use its own cache.
func ownCache(t *testing.T) (dir string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRememberMakesOnce(t *testing.T) {
	ownCache(t)
	var calls atomic.Int32
	fill := func(dir string) error {
		calls.Add(1)
		time.Sleep(50 * time.Millisecond) // so that the others come
		return os.WriteFile(dir+"/x", []byte("x"), 0o644)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := Remember(t.Context(), "kind", []any{1}, fill)
			if text, readErr := os.ReadFile(dir + "/x"); err != nil || readErr != nil ||
				string(text) != "x" {
				t.Errorf("Remember: %v, %v, %q", err, readErr, text)
			}
		})
	}
	wg.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	if _, err := Remember(t.Context(), "kind", []any{2}, fill); err != nil || calls.Load() != 2 {
		t.Errorf("other inputs: %v, %d calls", err, calls.Load())
	}
}

func TestRememberForgetsFailures(t *testing.T) {
	root := ownCache(t)
	broken := errors.New("broken")
	_, err := Remember(t.Context(), "kind", nil, func(dir string) error {
		os.WriteFile(dir+"/half", nil, 0o644)
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("Remember: %v", err)
	}
	for _, name := range contentOf(t, root) {
		if filepath.Ext(name) != ".lock" {
			t.Errorf("left behind: %s", name)
		}
	}
	dir, err := Remember(t.Context(), "kind", nil, func(string) error { return nil })
	if err != nil || len(contentOf(t, dir)) != 0 {
		t.Errorf("after a failure: %v, %v", err, contentOf(t, dir))
	}
}

func TestRememberWaitsNoLongerThanItsContext(t *testing.T) {
	ownCache(t)
	entered, leave := make(chan bool), make(chan bool)
	done := make(chan error)
	go func() {
		_, err := Remember(context.Background(), "kind", nil,
			func(string) error { close(entered); <-leave; return nil })
		done <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := Remember(ctx, "kind", nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Remember while another waits: %v", err)
	}
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCacheTrims(t *testing.T) {
	root := ownCache(t)
	fill := func(dir string) error { return os.WriteFile(dir+"/x", nil, 0o644) }
	var dirs []string
	for i := range 3 {
		dir, err := Remember(t.Context(), "kind", []any{i}, fill)
		if err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	past := time.Now().Add(-cacheAge - time.Hour)
	for _, dir := range dirs[:2] {
		if err := os.Chtimes(dir, past, past); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{1, 9} { // 1 is used again, and 9 is new
		if _, err := Remember(t.Context(), "kind", []any{i}, fill); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{false, true, true} {
		if _, err := os.Stat(dirs[i]); (err == nil) != want {
			t.Errorf("entry %d in %s: %v, want it to exist: %v", i, root, err, want)
		}
	}
}
