package decompress_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
)

// TestTruncated cuts a small file, with several blocks where the format has them, at every byte.
func TestTruncated(t *testing.T) {
	data := text(300)
	each(t, func(t *testing.T, w way) {
		tool := w.tool
		if w.format == decompress.XZ {
			tool += " --block-size=100"
		}
		in := pack(t, tool, data)
		step := 1
		if w.format != decompress.Gzip && !w.inside { // each iteration costs a process
			step = 3
		}
		for n := 0; n < len(in); n += step {
			_, err := w.read(t.Context(), bytes.NewReader(in[:n]), decompress.Options{})
			// For less than a header the system's xz only says that the format is not recognized.
			if !errors.Is(err, decompress.ErrCorrupt) ||
				n >= 13 && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d of %d bytes: error %v, want ErrCorrupt and io.ErrUnexpectedEOF", n,
					len(in), err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), string(w.format)) {
				t.Errorf("error %q does not name the format", err)
			}
		}
	})
}

// TestTruncatedName cuts a second gzip member inside the file name in its header.
func TestTruncatedName(t *testing.T) {
	first := pack(t, "gzip -nc", text(300))
	in := append(bytes.Clone(first), "\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03primary.x"...)
	if _, err := ways[0].read(t.Context(), bytes.NewReader(in),
		decompress.Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want io.ErrUnexpectedEOF", err)
	}
}

// TestDamaged flips each bit: no damage may pass, except where nothing depends on it.
func TestDamaged(t *testing.T) {
	data := text(300)
	each(t, func(t *testing.T, w way) {
		in := pack(t, w.tool, data)
		step := 1
		if w.format == decompress.XZ && !w.inside {
			step = 29
		}
		for bit := 0; bit < 8*len(in); bit += step {
			bad := bytes.Clone(in)
			bad[bit/8] ^= 1 << (bit % 8)
			got, err := w.read(t.Context(), bytes.NewReader(bad),
				decompress.Options{MaxSize: 1 << 20})
			if err == nil && w.checked && !bytes.Equal(got, data) {
				t.Errorf("bit %d: wrong data without an error", bit)
			}
			if w.format == decompress.LZMA && !w.inside {
				break
			}
		}
	})
}

func TestTrailing(t *testing.T) {
	for _, tail := range []string{"\x00", "garbage that is long enough for a header"} {
		each(t, func(t *testing.T, w way) {
			in := append(bytes.Clone(pack(t, w.tool, text(300))), tail...)
			if _, err := w.read(t.Context(), bytes.NewReader(in),
				decompress.Options{}); !errors.Is(err, decompress.ErrCorrupt) {
				t.Errorf("%q after the data: error %v, want ErrCorrupt", tail, err)
			}
		})
	}
}

func TestNotOfTheFormat(t *testing.T) {
	for _, in := range []string{"", "<metadata/>", strings.Repeat("\x00", 100),
		strings.Repeat("\xff", 100)} {
		each(t, func(t *testing.T, w way) {
			_, err := w.read(t.Context(), strings.NewReader(in), decompress.Options{})
			if err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%.10q: error %v", in, err)
			}
		})
	}
}

func TestMaxSize(t *testing.T) {
	data := text(100_000)
	each(t, func(t *testing.T, w way) {
		in := pack(t, w.tool, data)
		if got, err := w.read(t.Context(), bytes.NewReader(in),
			decompress.Options{MaxSize: int64(len(data))}); err != nil || !bytes.Equal(got, data) {
			t.Errorf("data of exactly that size: %d bytes, %v", len(got), err)
		}
		got, err := w.read(t.Context(), bytes.NewReader(in),
			decompress.Options{MaxSize: int64(len(data)) - 1})
		if !errors.Is(err, decompress.ErrTooLarge) || !bytes.Equal(got, data[:len(data)-1]) {
			t.Errorf("one byte more: %d bytes, %v; want ErrTooLarge", len(got), err)
		}
	})
}

// TestBomb decompresses 20 MB of zeros and must stop early.
func TestBomb(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		in := pack(t, w.tool, make([]byte, 20_000_000))
		got, err := w.read(t.Context(), bytes.NewReader(in), decompress.Options{MaxSize: 1000})
		if !errors.Is(err, decompress.ErrTooLarge) || len(got) != 1000 {
			t.Errorf("%d bytes, %v; want 1000 and ErrTooLarge", len(got), err)
		}
	})
}

// TestMaxMemory reads data with larger dictionaries than allowed.
func TestMaxMemory(t *testing.T) {
	large := map[decompress.Format]string{
		decompress.Zstd: "zstd -qc --long=27",
		decompress.XZ:   "xz -c --lzma2=preset=0,dict=64MiB",
		decompress.LZMA: "xz -c --format=lzma --lzma1=preset=0,dict=64MiB",
	}
	each(t, func(t *testing.T, w way) {
		if large[w.format] == "" {
			t.Skip("always has a small window")
		}
		in := pack(t, large[w.format], text(1000))
		if _, err := w.read(t.Context(), bytes.NewReader(in), decompress.Options{}); err != nil {
			t.Errorf("by default: %v", err)
		}
		_, err := w.read(t.Context(), bytes.NewReader(in), decompress.Options{MaxMemory: 16 << 20})
		if !errors.Is(err, decompress.ErrTooLarge) {
			t.Errorf("16 MiB: error %v, want ErrTooLarge", err)
		}
	})
}

// TestSecondDictionary has a small dictionary in the first block and one of 4 GiB in the second.
func TestSecondDictionary(t *testing.T) {
	in := bytes.Clone(pack(t, "xz -c --block-size=100", text(200)))
	at := bytes.LastIndex(in, []byte{0x21, 0x01}) // the filter of the second block
	in[at+2] = 40
	// size byte of the header: the nearest possible
	start := bytes.LastIndexAny(in[:at], "\x02\x03\x04")
	header := in[start : start+(int(in[start])+1)*4]
	binary.LittleEndian.PutUint32(header[len(header)-4:],
		crc32.ChecksumIEEE(header[:len(header)-4]))
	for _, w := range []way{{format: decompress.XZ}, {format: decompress.XZ, inside: true}} {
		_, err := w.read(t.Context(), bytes.NewReader(in), decompress.Options{})
		if !errors.Is(err, decompress.ErrTooLarge) {
			t.Errorf("in this process %v: error %v, want ErrTooLarge", w.inside, err)
		}
	}
}

func TestOtherFilters(t *testing.T) {
	in := pack(t, "xz -c --x86 --lzma2", text(1000))
	if _, err := (way{format: decompress.XZ}).read(t.Context(), bytes.NewReader(in),
		decompress.Options{}); err != nil {
		t.Errorf("system's xz: %v", err)
	}
	_, err := way{format: decompress.XZ, inside: true}.read(t.Context(), bytes.NewReader(in),
		decompress.Options{})
	if !errors.Is(err, decompress.ErrUnsupported) {
		t.Errorf("in this process: error %v, want ErrUnsupported", err)
	}
}

// TestSourceError has input that fails at once, in the middle and after the last byte.
func TestSourceError(t *testing.T) {
	broken := errors.New("connection reset")
	each(t, func(t *testing.T, w way) {
		in := pack(t, w.tool, text(100_000))
		for _, n := range []int{0, 1, len(in) / 2, len(in)} {
			r := io.MultiReader(bytes.NewReader(in[:n]), iotest.ErrReader(broken))
			if _, err := w.read(t.Context(), r, decompress.Options{}); !errors.Is(err, broken) ||
				errors.Is(err, decompress.ErrCorrupt) {
				t.Errorf("after %d of %d bytes: error %v, want %v", n, len(in), err, broken)
			}
		}
	})
}

// TestCancelled cancels while the input hangs.
func TestCancelled(t *testing.T) {
	because := errors.New("enough")
	each(t, func(t *testing.T, w way) {
		ctx, cancel := context.WithCancelCause(t.Context())
		in := pack(t, w.tool, text(1_000_000))
		hangs, hand := io.Pipe()
		go func() {
			hand.Write(in[:len(in)/2])
			cancel(because)
			hand.CloseWithError(context.Canceled)
		}()
		if _, err := w.read(ctx, hangs, decompress.Options{}); !errors.Is(err, because) {
			t.Errorf("error %v, want %v", err, because)
		}
	})
}

// TestClosed closes the reader in the middle, twice, and reads on.
func TestClosed(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		in := pack(t, w.tool, text(1_000_000))
		r, err := decompress.NewReader(t.Context(), w.format, bytes.NewReader(in),
			decompress.Options{NoSystemXZ: w.inside})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Read after Close = %d, %v", n, err)
		}
	})
}
