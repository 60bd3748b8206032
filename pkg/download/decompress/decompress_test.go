package decompress_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
)

func TestFromName(t *testing.T) {
	for name, want := range map[string]decompress.Format{
		"repodata/0a-primary.xml.gz": decompress.Gzip, "primary.xml.zst": decompress.Zstd,
		"a.xz":     decompress.XZ,
		"a.gz.bz2": decompress.Bzip2, "a.lzma": decompress.LZMA, "primary.xml": decompress.None,
		"": decompress.None,
	} {
		if got, err := decompress.FromName(name); got != want || err != nil {
			t.Errorf("FromName(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	if f, err := decompress.FromName("primary.xml.zck"); !errors.Is(err,
		decompress.ErrUnsupported) || f != "" {
		t.Errorf("FromName of zchunk = %q, %v; want ErrUnsupported", f, err)
	}
}

func TestFromRPM(t *testing.T) {
	for tag, want := range map[string]decompress.Format{
		"": decompress.None, "gzip": decompress.Gzip, "bzip2": decompress.Bzip2,
		"xz":   decompress.XZ,
		"lzma": decompress.LZMA, "zstd": decompress.Zstd,
	} {
		if got, err := decompress.FromRPM(tag); got != want || err != nil {
			t.Errorf("FromRPM(%q) = %q, %v; want %q", tag, got, err, want)
		}
	}
	for _, tag := range []string{"none", "GZIP", "lzip", "\x1b[2J"} {
		if f, err := decompress.FromRPM(tag); !errors.Is(err, decompress.ErrUnsupported) ||
			f != "" {
			t.Errorf("FromRPM(%q) = %q, %v; want ErrUnsupported", tag, f, err)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := decompress.NewReader(t.Context(), "lz4", nil,
		decompress.Options{}); !errors.Is(err, decompress.ErrUnsupported) {
		t.Errorf("NewReader = %v, want ErrUnsupported", err)
	}
}

// TestTools reads the output of the tools with their various options.
func TestTools(t *testing.T) {
	data := text(400_000)
	commands := map[decompress.Format][]string{
		decompress.None:  {"cat"},
		decompress.Gzip:  {"gzip -1c", "gzip -9nc"},
		decompress.Bzip2: {"bzip2 -1c", "bzip2 -9c"},
		decompress.Zstd: {"zstd -qc -1", "zstd -qc -19 --no-check", "zstd -qc --long=27",
			"zstd -qc -T2 -3"},
		decompress.LZMA: {"xz --format=lzma -0c", "xz --format=lzma -9c",
			"xz --format=lzma --lzma1=lc=0,lp=2,pb=0 -c"},
		decompress.XZ: {"xz -0c", "xz -6c", "xz -c --check=none", "xz -c --check=crc32",
			"xz -c --check=sha256",
			"xz -c --block-size=500000", "xz -c -T2 --block-size=300000",
			"xz -c --lzma2=dict=4KiB,lc=1,lp=3,pb=4"},
	}
	for format, list := range commands {
		for _, command := range list {
			for _, inside := range []bool{false, true} {
				w := way{format: format, inside: inside}
				got, err := w.read(t.Context(), bytes.NewReader(pack(t, command, data)),
					decompress.Options{})
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("%s, in this process %v: %d of %d bytes are right, error %v", command,
						inside, same(got, data), len(data), err)
				}
			}
		}
	}
}

// TestSmall reads very short data, and input that arrives in awkward pieces.
func TestSmall(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for _, data := range [][]byte{{}, {0}, text(70_000)} {
			in := pack(t, w.tool, data)
			for name, r := range map[string]io.Reader{
				"whole": bytes.NewReader(in), "bytes": iotest.OneByteReader(bytes.NewReader(in)),
				"EOF with data": iotest.DataErrReader(bytes.NewReader(in)),
				"pipe":          io.MultiReader(bytes.NewReader(in)),
			} {
				if got, err := w.read(t.Context(), r, decompress.Options{}); err != nil ||
					!bytes.Equal(got, data) {
					t.Errorf("%d bytes, %s: got %d, %v", len(data), name, len(got), err)
				}
			}
		}
	})
}

// TestStreams reads several streams one after another.
func TestStreams(t *testing.T) {
	a, b := text(50_000), text(1000)
	want := bytes.Join([][]byte{a, b, b}, nil)
	each(t, func(t *testing.T, w way) {
		if w.format == decompress.LZMA {
			t.Skip("lzma has a single stream")
		}
		pad := []byte{}
		if w.format == decompress.XZ {
			pad = make([]byte, 8)
		}
		first, second := pack(t, w.tool, a), pack(t, w.tool, b)
		in := bytes.Join([][]byte{first, second, pad, pack(t, w.tool, nil), second, pad}, nil)
		if got, err := w.read(t.Context(), bytes.NewReader(in), decompress.Options{}); err != nil ||
			!bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}

func TestSystemXZMissing(t *testing.T) {
	data := text(1000)
	in := pack(t, "xz -c", data)
	t.Setenv("PATH", t.TempDir())
	w := way{format: decompress.XZ}
	if got, err := w.read(t.Context(), bytes.NewReader(in), decompress.Options{}); err != nil ||
		!bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// TestSystemXZFails has an xz that fails for reasons of its own, for which the data must not be
// blamed.
func TestSystemXZFails(t *testing.T) {
	for name, script := range map[string]string{
		"message": "#!/bin/sh\necho 'xz: (stdin): Cannot allocate memory' >&2; exit 1\n",
		"signal":  "#!/bin/sh\nkill -9 $$\n",
		"silent":  "#!/bin/sh\nexit 3\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/xz", []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		_, err := way{format: decompress.XZ}.read(t.Context(), bytes.NewReader(make([]byte, 1<<20)),
			decompress.Options{})
		if err == nil || errors.Is(err, decompress.ErrCorrupt) {
			t.Errorf("%s: error is %v, want one that does not blame the data", name, err)
		}
	}
}

// TestEnvironment checks that the user's settings for xz have no effect.
func TestEnvironment(t *testing.T) {
	data := text(1000)
	in := pack(t, "xz -c", data)
	t.Setenv("XZ_OPT", "--memlimit=1")
	t.Setenv("XZ_DEFAULTS", "--format=raw")
	if got, err := (way{format: decompress.XZ}).read(t.Context(), bytes.NewReader(in),
		decompress.Options{}); err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// same returns the length of the common prefix of a and b.
func same(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
