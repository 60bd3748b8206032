package store_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

func TestDefaultDir(t *testing.T) {
	tests := map[string]struct {
		own, cache, home string
		want, wantErr    string
	}{
		"own variable":     {own: "/var/lp//x", cache: "/c", want: "/var/lp/x"},
		"relative":         {own: "lp", wantErr: "must be an absolute path"},
		"cache directory":  {cache: "/c", home: "/h", want: "/c/lpbuild"},
		"home":             {home: "/h", want: "/h/.cache/lpbuild"},
		"nothing to go by": {wantErr: "set LPBUILD_CACHE"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("LPBUILD_CACHE", tc.own)
			t.Setenv("XDG_CACHE_HOME", tc.cache)
			t.Setenv("HOME", tc.home)
			got, err := store.DefaultDir()
			if got != tc.want || (err != nil) != (tc.wantErr != "") {
				t.Fatalf("DefaultDir() = %q, %v", got, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("error %q, want %q in it", err, tc.wantErr)
			}
		})
	}
}

func TestOpenCreatesForTheUserOnly(t *testing.T) {
	s := open(t)
	fi, err := os.Stat(s.Dir())
	if err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("store's directory: %v, %v", fi.Mode(), err)
	}
	if _, err := store.Open(s.Dir()); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func TestOpenRefusesWorldWritable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir); err == nil ||
		!strings.Contains(err.Error(), dir+": this directory is world-writable") {
		t.Errorf("error %v", err)
	}
}

func TestOpenOnAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := store.Open(name); err == nil || s != nil {
		t.Errorf("Open of a file = %v, %v", s, err)
	}
}

func TestOpenContent(t *testing.T) {
	s := open(t)
	d := put(t, s, []byte("content"))
	f, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); string(got) != "content" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if want := filepath.Join(s.Dir(), blobName(d)); f.Name() != want || s.Path(d) != want {
		t.Errorf("name %s, path %s, want %s", f.Name(), s.Path(d), want)
	}
	if fi, _ := f.Stat(); fi.Mode().Perm() != 0o444 {
		t.Errorf("mode %v: content is not protected from accidents", fi.Mode())
	}
}

func TestMissing(t *testing.T) {
	s := open(t)
	d := digest.OfBytes([]byte("never put"))
	if s.Has(d) {
		t.Error("Has is true for content that was never put")
	}
	if f, err := s.Open(d); !errors.Is(err, store.ErrMissing) || f != nil {
		t.Errorf("Open = %v, %v", f, err)
	}
	if f, err := s.OpenVerified(t.Context(), d); !errors.Is(err, store.ErrMissing) || f != nil {
		t.Errorf("OpenVerified = %v, %v", f, err)
	}
}

// A digest comes from a repository: it must not become a path that leaves the store.
func TestDigestThatIsNone(t *testing.T) {
	s := open(t)
	good := digest.OfBytes(nil)
	for _, d := range []digest.Digest{
		{},
		{Algorithm: "sha256", Hex: "../../../etc/passwd"},
		{Algorithm: "../x", Hex: good.Hex},
		{Algorithm: "md5", Hex: good.Hex[:32]},
		{Algorithm: "sha256", Hex: strings.ToUpper(good.Hex)},
	} {
		if s.Path(d) != "" || s.Has(d) {
			t.Errorf("Path(%+v) = %q", d, s.Path(d))
		}
		if f, err := s.Open(d); err == nil || f != nil {
			t.Errorf("Open(%+v) = %v, %v", d, f, err)
		}
		if p, err := s.Partial(t.Context(), d); err == nil || p != nil {
			t.Errorf("Partial(%+v) = %v, %v", d, p, err)
		}
		if _, err := s.Put(t.Context(), d, strings.NewReader("x"), 9); err == nil && !d.IsZero() {
			t.Errorf("Put(%+v) succeeded", d)
		}
	}
}

func TestOpenVerified(t *testing.T) {
	s := open(t)
	d := put(t, s, []byte("content"))
	f, err := s.OpenVerified(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); string(got) != "content" || err != nil {
		t.Errorf("read %q, %v, want the content from the start", got, err)
	}
}

func TestOpenVerifiedRemovesWhatChanged(t *testing.T) {
	s := open(t)
	d, other := put(t, s, []byte("content")), put(t, s, []byte("other"))
	os.Chmod(s.Path(d), 0o600)
	if err := os.WriteFile(s.Path(d), []byte("c0ntent"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := s.OpenVerified(t.Context(), d)
	if !errors.Is(err, store.ErrMissing) || !errors.Is(err, digest.ErrMismatch) || f != nil {
		t.Fatalf("OpenVerified = %v, %v", f, err)
	}
	if s.Has(d) {
		t.Error("damaged content is still there")
	}
	if diff := cmp.Diff([]string{blobName(other)}, files(t, s.Dir())); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if put(t, s, []byte("content")) != d || !s.Has(d) {
		t.Error("content cannot be put again")
	}
}
