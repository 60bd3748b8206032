package store_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

func TestPut(t *testing.T) {
	content := "some content"
	sum := sha512.Sum512([]byte(content))
	long, err := digest.New("sha512", fmt.Sprintf("%x", sum))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ named, want digest.Digest }{
		"named":      {digest.OfBytes([]byte(content)), digest.OfBytes([]byte(content))},
		"not named":  {digest.Digest{}, digest.OfBytes([]byte(content))},
		"by sha-512": {long, long},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			got, err := s.Put(t.Context(), tc.named, strings.NewReader(content),
				int64(len(content)))
			if err != nil || got != tc.want {
				t.Fatalf("Put = %v, %v", got, err)
			}
			if data, err := os.ReadFile(s.Path(got)); string(data) != content || err != nil {
				t.Errorf("stored %q, %v", data, err)
			}
			if diff := cmp.Diff([]string{blobName(got)}, files(t, s.Dir())); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPutKeepsNothingAfterAnError(t *testing.T) {
	broken := errors.New("broken reader")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx   context.Context
		d     digest.Digest
		r     io.Reader
		limit int64
		want  error
	}{
		"other content": {t.Context(), digest.OfBytes([]byte("x")), strings.NewReader("y"), 9,
			digest.ErrMismatch},
		"too much": {t.Context(), digest.Digest{}, strings.NewReader("1234567890"), 9,
			store.ErrTooLarge},
		"negative limit": {t.Context(), digest.Digest{}, strings.NewReader("1"), -5,
			store.ErrTooLarge},
		"reader breaks": {t.Context(), digest.Digest{}, iotest.ErrReader(broken), 9, broken},
		"cancelled":     {cancelled, digest.Digest{}, strings.NewReader("x"), 9, context.Canceled},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			d, err := s.Put(tc.ctx, tc.d, tc.r, tc.limit)
			if !errors.Is(err, tc.want) || !d.IsZero() {
				t.Errorf("Put = %v, %v; want %v", d, err, tc.want)
			}
			if left := files(t, s.Dir()); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestPutLimitBounds(t *testing.T) {
	s := open(t)
	for content, limit := range map[string]int64{"": 0, "exactly": 7, "no limit": math.MaxInt64} {
		d, err := s.Put(t.Context(), digest.Digest{}, strings.NewReader(content), limit)
		if err != nil || d != digest.OfBytes([]byte(content)) {
			t.Errorf("Put(%q, limit %d) = %v, %v", content, limit, d, err)
		}
	}
}

func TestPutDoesNotReadWhatIsThere(t *testing.T) {
	s := open(t)
	d := put(t, s, []byte("content"))
	if got, err := s.Put(t.Context(), d, iotest.ErrReader(errors.New("was read")), 99); got != d ||
		err != nil {
		t.Errorf("Put = %v, %v", got, err)
	}
}

func TestPutByManyAtOnce(t *testing.T) {
	s := open(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			content := bytes.Repeat([]byte{byte(i % 3)}, 10_000)
			d, err := s.Put(t.Context(), digest.OfBytes(content), bytes.NewReader(content), 10_000)
			if err != nil {
				t.Error(err)
			}
			f, err := s.OpenVerified(t.Context(), d)
			if err != nil {
				t.Error(err)
				return
			}
			f.Close()
		})
	}
	wg.Wait()
	if got := files(t, s.Dir()); len(got) != 3 {
		t.Errorf("files %v", got)
	}
}

func TestPutFile(t *testing.T) {
	s := open(t)
	name := filepath.Join(t.TempDir(), "libc.so.6")
	if err := os.WriteFile(name, []byte("library"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := s.PutFile(t.Context(), name)
	if err != nil || d != digest.OfBytes([]byte("library")) || !s.Has(d) {
		t.Errorf("PutFile = %v, %v", d, err)
	}
	if _, err := os.Stat(name); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestPutFileThatIsNone(t *testing.T) {
	s := open(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{fifo, t.TempDir(), "/does/not/exist"} {
		if d, err := s.PutFile(t.Context(), name); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("PutFile(%s) = %v, %v", name, d, err)
		}
	}
}
