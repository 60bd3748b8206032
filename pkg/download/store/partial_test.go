package store_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

func TestPartialGoesOn(t *testing.T) {
	s := open(t)
	d := digest.OfBytes([]byte("one two three"))
	p := partial(t, s, d)
	write(t, p, "one ")
	write(t, p, "two ")
	if err := p.Close(); err != nil || s.Has(d) {
		t.Fatalf("Close: %v, has %v", err, s.Has(d))
	}
	p = partial(t, s, d)
	if p.Size() != 8 {
		t.Errorf("Size() = %d after opening again, want 8", p.Size())
	}
	write(t, p, "three")
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{blobName(d)}, files(t, s.Dir())); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if f, err := s.OpenVerified(t.Context(), d); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
}

func TestPartialReset(t *testing.T) {
	s := open(t)
	d := digest.OfBytes([]byte("right"))
	p := partial(t, s, d)
	write(t, p, "something longer and wrong")
	if err := p.Reset(); err != nil || p.Size() != 0 {
		t.Fatalf("Reset: %v, size %d", err, p.Size())
	}
	write(t, p, "right")
	if err := p.Commit(); err != nil {
		t.Error(err)
	}
}

func TestPartialCommitOfOtherContent(t *testing.T) {
	s := open(t)
	d := digest.OfBytes([]byte("right"))
	p := partial(t, s, d)
	write(t, p, "wrong")
	if err := p.Commit(); !errors.Is(err, digest.ErrMismatch) || s.Has(d) || p.Size() != 0 {
		t.Fatalf("Commit = %v, has %v, size %d", err, s.Has(d), p.Size())
	}
	write(t, p, "right") // still open, and empty
	if err := p.Commit(); err != nil {
		t.Error(err)
	}
}

func TestPartialEmptyLeavesNothing(t *testing.T) {
	s := open(t)
	p := partial(t, s, digest.OfBytes([]byte("x")))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, s.Dir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPartialAfterItsEnd(t *testing.T) {
	s := open(t)
	p := partial(t, s, digest.OfBytes([]byte("x")))
	p.Close()
	_, writeErr := p.Write([]byte("x"))
	for what, err := range map[string]error{"Write": writeErr, "Reset": p.Reset(),
		"Commit": p.Commit()} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}

func TestPartialOfWhatIsThere(t *testing.T) {
	s := open(t)
	d := put(t, s, []byte("x"))
	if p, err := s.Partial(t.Context(), d); !errors.Is(err, store.ErrExists) || p != nil {
		t.Errorf("Partial = %v, %v", p, err)
	}
}

// The second of two processes that fetch the same content waits for the first and then finds it
// complete.
func TestPartialWaitsUntilDone(t *testing.T) {
	s := open(t)
	d := digest.OfBytes([]byte("x"))
	first := partial(t, s, d)
	second := make(chan error)
	go func() {
		_, err := s.Partial(t.Context(), d)
		second <- err
	}()
	select {
	case err := <-second:
		t.Fatalf("Partial did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	write(t, first, "x")
	if err := first.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-second; !errors.Is(err, store.ErrExists) {
		t.Errorf("second: %v", err)
	}
	if diff := cmp.Diff([]string{blobName(d)}, files(t, s.Dir())); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestPartialWaitCanBeGivenUp(t *testing.T) {
	s := open(t)
	d := digest.OfBytes([]byte("begun and ended"))
	startHolder(t, s.Dir(), d)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	p, err := s.Partial(ctx, d)
	if !errors.Is(err, context.DeadlineExceeded) ||
		!strings.Contains(err.Error(), "waiting for the process") || p != nil {
		t.Errorf("Partial = %v, %v", p, err)
	}
}

func TestPartialOutlivesItsProcess(t *testing.T) {
	s := open(t)
	d := digest.OfBytes([]byte("begun and ended"))
	holder := startHolder(t, s.Dir(), d)
	holder.Process.Kill()
	holder.Wait()
	p := partial(t, s, d)
	if p.Size() != int64(len("begun ")) {
		t.Errorf("Size() = %d after its process was killed", p.Size())
	}
	write(t, p, "and ended")
	if err := p.Commit(); err != nil {
		t.Error(err)
	}
}

func TestPartialDoesNotFollowSymlinks(t *testing.T) {
	s := open(t)
	victim := t.TempDir() + "/victim"
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := digest.OfBytes([]byte("x"))
	if err := os.Symlink(victim, s.Dir()+"/parts/sha256-"+d.Hex+".part"); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Partial(t.Context(), d); err == nil {
		t.Errorf("Partial through a symlink = %v", p)
	}
}
