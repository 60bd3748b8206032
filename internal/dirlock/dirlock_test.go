package dirlock_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/dirlock"
)

// TestAcquire waits in the second call until the first lock is released, also by another path.
func TestAcquire(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	release, err := dirlock.Acquire(t.Context(), dir, func() {
		t.Error("Acquire waits though nobody has the lock")
	})
	if err != nil {
		t.Fatal(err)
	}
	waits, done := make(chan struct{}), make(chan error, 1)
	go func() {
		second, err := dirlock.Acquire(t.Context(), link, func() { close(waits) })
		if err == nil {
			second()
		}
		done <- err
	}()
	<-waits
	select {
	case err := <-done:
		t.Fatalf("both have the lock (%v)", err)
	default:
	}
	release()
	release()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the directory has %v (%v)", entries, err)
	}
}

// TestAcquireCancelled gives up waiting.
func TestAcquireCancelled(t *testing.T) {
	dir := t.TempDir()
	release, err := dirlock.Acquire(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	if _, err := dirlock.Acquire(ctx, dir, func() { cancel(why) }); !errors.Is(err, why) {
		t.Errorf("error is %v, want %v", err, why)
	}
}

// TestAcquireNotADirectory returns an error at once for anything but a directory.
func TestAcquireNotADirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := dirlock.Acquire(t.Context(), filepath.Join(dir, "none"), nil); !errors.Is(err,
		fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := dirlock.Acquire(t.Context(), file, nil); err == nil {
		t.Error("a file was locked")
	}
}
