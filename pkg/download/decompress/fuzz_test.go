package decompress_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
)

// FuzzReader feeds arbitrary input to the decoders of this process: no panic, no more data than
// allowed, and the same result twice.
func FuzzReader(f *testing.F) {
	formats := []decompress.Format{decompress.None, decompress.Gzip, decompress.Zstd,
		decompress.Bzip2, decompress.XZ, decompress.LZMA}
	for i, w := range []string{"cat", "gzip -nc", "zstd -qc", "bzip2 -c",
		"xz -c --block-size=100 --check=crc32", "xz -c --format=lzma"} {
		for _, data := range [][]byte{nil, text(300)} {
			in := pack(f, w, data)
			f.Add(byte(i), in)
			f.Add(byte(i), in[:len(in)/2])
			f.Add(byte(i), append(bytes.Clone(in), in...))
		}
	}
	read := func(t *testing.T, format decompress.Format, in []byte) ([]byte, error) {
		o := decompress.Options{MaxMemory: 1 << 20, MaxSize: 1 << 20, NoSystemXZ: true}
		r, err := decompress.NewReader(t.Context(), format, bytes.NewReader(in), o)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	f.Fuzz(func(t *testing.T, which byte, in []byte) {
		format := formats[int(which)%len(formats)]
		got, err := read(t, format, in)
		if len(got) > 1<<20 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		again, againErr := read(t, format, in)
		if !bytes.Equal(got, again) || (err == nil) != (againErr == nil) {
			t.Fatalf("first %d bytes, %v; then %d bytes, %v", len(got), err, len(again), againErr)
		}
	})
}
