package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// interrupted leaves a part that was written some time ago.
func interrupted(t *testing.T, s *store.Store, content string, age time.Duration) digest.Digest {
	t.Helper()
	d := digest.OfBytes([]byte(content))
	p := partial(t, s, d)
	write(t, p, content[:1])
	p.Close()
	then := time.Now().Add(-age)
	if err := os.Chtimes(filepath.Join(s.Dir(), partName(d)), then, then); err != nil {
		t.Fatal(err)
	}
	return d
}

func partName(d digest.Digest) string { return "parts/" + d.Algorithm + "-" + d.Hex + ".part" }

func TestPrune(t *testing.T) {
	s := open(t)
	kept, unwanted := put(t, s, []byte("kept")), put(t, s, []byte("unwanted"))
	fresh := interrupted(t, s, "fresh part", time.Hour)
	stale := interrupted(t, s, "stale part", 2*store.StaleAfter)
	unwantedPart := interrupted(t, s, "unwanted part", time.Hour)
	busy := digest.OfBytes([]byte("busy"))
	startHolder(t, s.Dir(), busy)
	if err := s.SetRecord("kind", "key", []byte("value")); err != nil {
		t.Fatal(err)
	}
	record := files(t, filepath.Join(s.Dir(), "records"))[0]
	for name, content := range map[string]string{
		"tmp/in-123":              "12345", // of a process that died
		"tmp/foreign":             "",
		"blobs/sha256/README":     "",
		"blobs/sha256/zz/foreign": "",
	} {
		full := filepath.Join(s.Dir(), name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	wanted := []digest.Digest{kept, fresh, stale}
	freed, err := s.Prune(t.Context(), func(d digest.Digest) bool {
		return slices.Contains(wanted, d)
	})
	if err != nil || freed != int64(len("unwanted")+1+1+5) {
		t.Errorf("Prune = %d, %v", freed, err)
	}
	want := []string{blobName(kept), "blobs/sha256/README", "blobs/sha256/zz/foreign",
		partName(fresh), partName(busy), "records/" + record, "tmp/foreign"}
	got := files(t, s.Dir())
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s\nstale %s, unwanted %s, %s", diff, stale, unwanted,
			unwantedPart)
	}
}

func TestPruneCancelled(t *testing.T) {
	s := open(t)
	d := put(t, s, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Prune(ctx, func(digest.Digest) bool { return false }); !errors.Is(err,
		context.Canceled) || !s.Has(d) {
		t.Errorf("Prune = %v, has %v", err, s.Has(d))
	}
}

// A process that opened a part while it was being pruned must not continue with a file that has no
// name any more.
func TestPruneBesidePartial(t *testing.T) {
	s := open(t)
	content := "content"
	d := digest.OfBytes([]byte(content))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			if _, err := s.Prune(t.Context(), func(digest.Digest) bool {
				return false
			}); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		p, err := s.Partial(t.Context(), d)
		if errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Reset(); err != nil {
			t.Fatal(err)
		}
		write(t, p, content)
		if err := p.Commit(); err != nil {
			t.Fatal(err)
		}
	}
}
