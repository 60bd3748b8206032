package rpmmd_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmmd"
)

// packings are the supported forms of a list, by suffix.
var packings = map[string][]string{
	"": {"cat"}, ".gz": {"gzip", "-nc"}, ".zst": {"zstd", "-qc"}, ".xz": {"xz", "-c"},
	".bz2": {"bzip2", "-c"},
}

// large is a list that takes several buffers.
var large = []byte(document(5000, strings.Repeat(entry("other"), 4999), entry("glibc")))

func TestOpenPrimary(t *testing.T) {
	for suffix, tool := range packings {
		packed := pack(t, large, tool[0], tool[1:]...)
		d := describe("primary.xml"+suffix, packed, large)
		if got, err := openAll(t.Context(), d, bytes.NewReader(packed)); err != nil ||
			!bytes.Equal(got, large) {
			t.Errorf("%q: %d bytes, %v", suffix, len(got), err)
		}
		d.OpenChecksum, d.Size, d.OpenSize = digest.Digest{}, 0, 0
		if got, err := openAll(t.Context(), d, bytes.NewReader(packed)); err != nil ||
			!bytes.Equal(got, large) {
			t.Errorf("%q with as few properties known as possible: %d bytes, %v", suffix, len(got),
				err)
		}
	}
}

func TestOpenPrimaryMismatch(t *testing.T) {
	wrong := digest.OfBytes([]byte("wrong"))
	for suffix, tool := range packings {
		packed := pack(t, large, tool[0], tool[1:]...)
		damaged := bytes.Clone(packed)
		damaged[len(damaged)/2] ^= 0x10
		tests := map[string]struct {
			change func(*rpmmd.Data)
			input  []byte
			want   error
		}{
			"checksum": {func(d *rpmmd.Data) { d.Checksum = wrong }, packed,
				digest.ErrMismatch},
			"open checksum": {func(d *rpmmd.Data) { d.OpenChecksum = wrong }, packed,
				digest.ErrMismatch},
			"smaller":        {func(d *rpmmd.Data) { d.Size-- }, packed, rpmmd.ErrSize},
			"larger":         {func(d *rpmmd.Data) { d.Size++ }, packed, rpmmd.ErrSize},
			"smaller inside": {func(d *rpmmd.Data) { d.OpenSize-- }, packed, rpmmd.ErrSize},
			"larger inside":  {func(d *rpmmd.Data) { d.OpenSize++ }, packed, rpmmd.ErrSize},
			"damaged": {func(d *rpmmd.Data) { d.OpenChecksum = digest.Digest{} }, damaged,
				digest.ErrMismatch},
			"cut": {func(d *rpmmd.Data) { d.Size = 0 }, packed[:len(packed)/2],
				digest.ErrMismatch},
			"other": {func(*rpmmd.Data) {}, bytes.Repeat([]byte("x"), len(packed)),
				digest.ErrMismatch},
		}
		for name, tc := range tests {
			d := describe("primary.xml"+suffix, packed, large)
			tc.change(&d)
			got, err := openAll(t.Context(), d, bytes.NewReader(tc.input))
			if !errors.Is(err, tc.want) || len(got) > len(large) {
				t.Errorf("%q, %s: %d bytes, error %v; want %v", suffix, name, len(got), err,
					tc.want)
			}
			if err != nil && !strings.Contains(err.Error(), d.Location) {
				t.Errorf("%q, %s: error %q does not name the file", suffix, name, err)
			}
		}
	}
}

// TestRightButDamaged has data that match repomd.xml, but are not valid gzip.
func TestRightButDamaged(t *testing.T) {
	packed := pack(t, large, "gzip", "-nc")
	packed[len(packed)-6] ^= 1
	_, err := openAll(t.Context(), describe("a.gz", packed, large), bytes.NewReader(packed))
	if !errors.Is(err, decompress.ErrCorrupt) || errors.Is(err, digest.ErrMismatch) {
		t.Errorf("error %v, want decompress.ErrCorrupt", err)
	}
}

// TestOpenPrimaryBomb has a small file that decompresses to more than announced.
func TestOpenPrimaryBomb(t *testing.T) {
	open := make([]byte, 50<<20)
	packed := pack(t, open, "gzip", "-nc")
	d := describe("a.gz", packed, open)
	d.OpenSize = 1000
	if got, err := openAll(t.Context(), d, bytes.NewReader(packed)); !errors.Is(err,
		rpmmd.ErrSize) || len(got) != 1000 {
		t.Errorf("%d bytes, %v; want 1000 and ErrSize", len(got), err)
	}
}

func TestOpenPrimaryRefuses(t *testing.T) {
	good := describe("a.gz", nil, nil)
	for name, tc := range map[string]struct {
		change func(*rpmmd.Data)
		want   error
	}{
		"zchunk":    {func(d *rpmmd.Data) { d.Location = "a.zck" }, decompress.ErrUnsupported},
		"no digest": {func(d *rpmmd.Data) { d.Checksum = digest.Digest{} }, digest.ErrWeak},
		"size":      {func(d *rpmmd.Data) { d.Size = rpmmd.MaxOpenSize + 1 }, rpmmd.ErrTooLarge},
		"open size": {func(d *rpmmd.Data) { d.OpenSize = rpmmd.MaxOpenSize + 1 },
			rpmmd.ErrTooLarge},
	} {
		d := good
		tc.change(&d)
		if r, err := rpmmd.OpenPrimary(t.Context(), d, nil); !errors.Is(err, tc.want) || r != nil {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestOpenPrimaryInputFails(t *testing.T) {
	broken := errors.New("broken")
	for suffix, tool := range packings {
		packed := pack(t, large, tool[0], tool[1:]...)
		r := io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(broken))
		if _, err := openAll(t.Context(), describe("a"+suffix, packed, large), r); !errors.Is(err,
			broken) {
			t.Errorf("%q: %v", suffix, err)
		}
	}
}

// TestOpenPrimaryCancelled cancels in the middle, and closes in the middle, and leaves no reader
// behind.
func TestOpenPrimaryCancelled(t *testing.T) {
	because := errors.New("enough")
	for suffix, tool := range packings {
		packed := pack(t, large, tool[0], tool[1:]...)
		ctx, cancel := context.WithCancelCause(t.Context())
		in := &counting{r: iotest.OneByteReader(bytes.NewReader(packed))}
		r, err := rpmmd.OpenPrimary(ctx, describe("a"+suffix, packed, large), in)
		if err != nil {
			t.Fatal(err)
		}
		cancel(because)
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, because) {
			t.Errorf("%q: error %v, want %v", suffix, err, because)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		n := in.n // the race detector notices if someone still reads
		if _, err := r.Read(make([]byte, 1)); err == nil || in.n != n {
			t.Errorf("%q: read after Close: %v", suffix, err)
		}
	}
}

// counting counts reads.
type counting struct {
	r io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	c.n++
	return c.r.Read(p)
}

// openAll reads a described list to its end.
func openAll(ctx context.Context, d rpmmd.Data, packed io.Reader) ([]byte, error) {
	r, err := rpmmd.OpenPrimary(ctx, d, packed)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// TestOpenPrimaryUnknownSize bounds the output if repomd.xml does not give its size.
func TestOpenPrimaryUnknownSize(t *testing.T) {
	open := bytes.Repeat([]byte(" "), 100<<20)
	packed := pack(t, open, "gzip", "-c")
	d := describe("primary.xml.gz", packed, open)
	d.OpenSize = 0
	if data, err := openAll(t.Context(), d, bytes.NewReader(packed)); !errors.Is(err,
		decompress.ErrTooLarge) || len(data) > 90<<20 {
		t.Errorf("%d bytes, error %v", len(data), err)
	}
	d = describe("primary.xml.gz", packed, open)
	if _, err := openAll(t.Context(), d, bytes.NewReader(packed)); err != nil {
		t.Errorf("with the size given: %v", err)
	}
}
