package rpmfile_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

const (
	libraryName = "/lib64/libdemo-2.31.so"
	emptyName   = "/usr/lib64/libempty.so"
)

// extract extracts into a new directory and returns its files' contents by name.
func extract(t *testing.T, r *rpmfile.RPM, want []string,
	o rpmfile.ExtractOptions) (got []rpmfile.Extracted, contents map[string]string, err error) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err = r.Extract(t.Context(), root, want, o)
	return got, dirFiles(t, dir), err
}

// dirFiles returns the regular files of dir, and fails if it has anything else.
func dirFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			t.Errorf("%s is a %s", e.Name(), e.Type())
			continue
		}
		contents[e.Name()] = string(bytesOf(t, filepath.Join(dir, e.Name())))
	}
	return contents
}

func extracted(name string, n int, content string) rpmfile.Extracted {
	return rpmfile.Extracted{
		Name: name, Path: fmt.Sprintf("file%d", n), Size: int64(len(content)),
		SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(content))),
	}
}

func TestExtract(t *testing.T) {
	wanted := []struct{ name, content string }{
		{"/usr/lib64/libhard-2.so", "hard\n"}, {libraryName, string(library())}, {emptyName, ""},
		{"/usr/lib64/gconv/ISO-2022-CN-EXT.so", "gconv\n"}, {"/usr/lib64/libhard-1.so", "hard\n"},
		{"/usr/share/demo/libdemo.so.6", "not a library\n"}, {"/usr/lib64/libhard-3.so", "hard\n"},
	}
	var names []string
	var want []rpmfile.Extracted
	contents := map[string]string{}
	for n, w := range wanted {
		names = append(names, w.name)
		want = append(want, extracted(w.name, n, w.content))
		contents[want[n].Path] = w.content
	}
	for compressor := range modes {
		t.Run(compressor, func(t *testing.T) {
			got, onDisk, err := extract(t, open(t, pkg(t, compressor)), names,
				rpmfile.ExtractOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("Extract (-want +got):\n%s", d)
			}
			if d := cmp.Diff(contents, onDisk); d != "" {
				t.Errorf("the directory (-want +got):\n%.500s", d)
			}
		})
	}
}

func TestExtractMode(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := open(t, pkg(t, "gzip")).Extract(t.Context(), root, []string{libraryName},
		rpmfile.ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "file0"))
	if err != nil || info.Mode()&^0o022 != 0o644 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestExtractEachHardLink wants a file by only one of its names.
func TestExtractEachHardLink(t *testing.T) {
	for n := range 3 {
		name := fmt.Sprintf("/usr/lib64/libhard-%d.so", n+1)
		got, onDisk, err := extract(t, open(t, pkg(t, "gzip")), []string{name},
			rpmfile.ExtractOptions{})
		if err != nil || !cmp.Equal(got, []rpmfile.Extracted{extracted(name, 0, "hard\n")}) ||
			len(onDisk) != 1 {
			t.Errorf("%s: %v, %v, %v", name, got, onDisk, err)
		}
	}
}

// short rewrites the payload in the form that RPM uses if a file has more than 4 GiB. It follows a
// package that rpmbuild made of such a file.
func short(tb testing.TB) []byte {
	return crafted(tb, func(p *parts) {
		var entries []cpioEntry
		for n, f := range parse(tb, bytesOf(tb, pkg(tb, "gzip"))).Files() {
			e := cpioEntry{number: n, data: f.Link}
			switch f.Name {
			case libraryName:
				e.data = string(library())
			case "/usr/lib64/libhard-3.so":
				e.data = "hard\n"
			case "/usr/lib64/libhard-1.so", "/usr/lib64/libhard-2.so", emptyName:
			default:
				if f.Mode.IsRegular() {
					e.data = strings.Repeat("x", int(f.Size))
				}
			}
			entries = append(entries, e)
		}
		p.payload = archive(entries...)
	})
}

func TestExtractShortForm(t *testing.T) {
	names := []string{"/usr/lib64/libhard-2.so", libraryName, emptyName}
	got, _, err := extract(t, parse(t, short(t)), names, rpmfile.ExtractOptions{})
	want := []rpmfile.Extracted{
		extracted(names[0], 0, "hard\n"), extracted(names[1], 1, string(library())),
		extracted(names[2], 2, ""),
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestExtractNothing(t *testing.T) {
	got, onDisk, err := extract(t, open(t, pkg(t, "gzip")), nil, rpmfile.ExtractOptions{})
	if got != nil || len(onDisk) != 0 || err != nil {
		t.Errorf("got %v, %v, %v", got, onDisk, err)
	}
}

// TestExtractRefuses asks for files that cannot be extracted.
func TestExtractRefuses(t *testing.T) {
	tests := map[string]struct {
		want   []string
		o      rpmfile.ExtractOptions
		reason error
		words  string
	}{
		"a missing file": {[]string{"/lib64/libmissing.so"}, rpmfile.ExtractOptions{},
			fs.ErrNotExist, "libmissing"},
		"a ghost": {[]string{"/var/lib/demo/ghost.so"}, rpmfile.ExtractOptions{},
			fs.ErrNotExist, "ghost"},
		"a symbolic link": {[]string{"/lib64/libdemo.so.6"}, rpmfile.ExtractOptions{},
			nil, "not a regular file"},
		"a directory": {[]string{"/usr/share/demo"}, rpmfile.ExtractOptions{}, nil,
			"not a regular file"},
		"a file too large": {[]string{libraryName},
			rpmfile.ExtractOptions{MaxFile: 300_000}, decompress.ErrTooLarge, "300001"},
		"two files that are too large": {[]string{libraryName, "/usr/lib64/libhard-1.so"},
			rpmfile.ExtractOptions{MaxTotal: 300_005}, decompress.ErrTooLarge,
			"300005 bytes in all"},
		"the same file too often": {[]string{libraryName, libraryName},
			rpmfile.ExtractOptions{MaxTotal: 300_001}, decompress.ErrTooLarge, "in all"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, onDisk, err := extract(t, open(t, pkg(t, "gzip")), tc.want, tc.o)
			if got != nil || err == nil || len(onDisk) != 0 ||
				!strings.Contains(err.Error(), tc.words) {
				t.Fatalf("got %v, %v, %v", got, onDisk, err)
			}
			if tc.reason != nil && !errors.Is(err, tc.reason) {
				t.Errorf("got %v, want %v", err, tc.reason)
			}
		})
	}
	exactly := rpmfile.ExtractOptions{MaxFile: 300_001, MaxTotal: 600_002}
	if _, _, err := extract(t, open(t, pkg(t, "gzip")), []string{libraryName, libraryName},
		exactly); err != nil {
		t.Error(err)
	}
}

// TestExtractRemoves meets the error only after it has written a file.
func TestExtractRemoves(t *testing.T) {
	p := takeApart(t, bytesOf(t, pkg(t, "gzip")))
	raw := unzipped(t, p.payload)
	r := parse(t, crafted(t, func(p *parts) {
		p.payload = zipped(bytes.Replace(raw, []byte("not a library"), []byte("not A library"), 1))
	}))
	got, onDisk, err := extract(t, r, []string{libraryName, "/usr/share/demo/libdemo.so.6"},
		rpmfile.ExtractOptions{})
	if got != nil || !errors.Is(err, digest.ErrMismatch) || len(onDisk) != 0 {
		t.Errorf("got %v, %v, %v", got, onDisk, err)
	}
}

// TestExtractOldDigests has file digests that are not checked; Verify checked that of the payload.
func TestExtractOldDigests(t *testing.T) {
	data := crafted(t, func(p *parts) {
		p.gen.drop(rpmutils.FILEDIGESTALGO)
		p.gen.drop(rpmutils.FILEINODES, rpmutils.FILEDEVICES)
	})
	if _, _, err := extract(t, parse(t, data), []string{libraryName},
		rpmfile.ExtractOptions{}); err != nil {
		t.Error(err)
	}
}

// TestExtractLongSizes has sizes as RPM writes them for files of more than 4 GiB.
func TestExtractLongSizes(t *testing.T) {
	sizes := func(first uint64) func(*parts) {
		return func(p *parts) {
			long := rawTag{tag: rpmutils.LONGFILESIZES, kind: rpmutils.RPM_INT64_TYPE}
			for old := p.gen.find(rpmutils.FILESIZES).data; len(old) > 0; old = old[4:] {
				long.data = binary.BigEndian.AppendUint64(long.data,
					uint64(binary.BigEndian.Uint32(old)))
				long.count++
			}
			if first != 0 {
				binary.BigEndian.PutUint64(long.data, first)
			}
			p.gen.drop(rpmutils.FILESIZES)
			p.gen.set(long)
		}
	}
	if _, _, err := extract(t, parse(t, crafted(t, sizes(0))), []string{emptyName},
		rpmfile.ExtractOptions{}); err != nil {
		t.Error(err)
	}
	badPackage(t, crafted(t, sizes(1<<63)), "bytes")
	_, onDisk, err := extract(t, parse(t, crafted(t, sizes(1<<62))), []string{emptyName},
		rpmfile.ExtractOptions{})
	if !errors.Is(err, decompress.ErrTooLarge) || len(onDisk) != 0 {
		t.Errorf("got %v, %v", onDisk, err)
	}
}

func TestExtractUnknownCompressor(t *testing.T) {
	r := parse(t, crafted(t, func(p *parts) {
		p.gen.set(stringTag(rpmutils.PAYLOADCOMPRESSOR, "rar"))
	}))
	if _, _, err := extract(t, r, []string{libraryName}, rpmfile.ExtractOptions{}); !errors.Is(err,
		decompress.ErrUnsupported) {
		t.Errorf("got %v", err)
	}
}

// TestExtractUnsaidCompressor has gzip without naming it, as old packages do.
func TestExtractUnsaidCompressor(t *testing.T) {
	r := parse(t, crafted(t, func(p *parts) { p.gen.drop(rpmutils.PAYLOADCOMPRESSOR) }))
	if _, _, err := extract(t, r, []string{libraryName}, rpmfile.ExtractOptions{}); err != nil {
		t.Error(err)
	}
}

// TestExtractInTheWay finds something under the name that it would write to, and neither follows
// nor removes it.
func TestExtractInTheWay(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	write(t, outside, []byte("precious"))
	if err := os.Symlink(outside, filepath.Join(dir, "file1")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err := open(t, pkg(t, "gzip")).Extract(t.Context(), root, []string{libraryName, emptyName},
		rpmfile.ExtractOptions{})
	if got != nil || !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, %v", got, err)
	}
	if string(bytesOf(t, outside)) != "precious" {
		t.Error("the link was followed")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "file1" {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// TestExtractDiskFull cannot write more than 100000 bytes into a file.
func TestExtractDiskFull(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	r := open(t, pkg(t, "gzip"))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE,
		&syscall.Rlimit{Cur: 100_000, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	got, onDisk, err := extract(t, r, []string{libraryName}, rpmfile.ExtractOptions{})
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	var format *rpmfile.FormatError
	if got != nil || !errors.Is(err, syscall.EFBIG) || errors.As(err, &format) || len(onDisk) != 0 {
		t.Errorf("got %v, %v, %v", got, onDisk, err)
	}
}

func TestExtractCancelled(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for compressor := range modes {
		_, err := open(t, pkg(t, compressor)).Extract(ctx, root, []string{libraryName},
			rpmfile.ExtractOptions{})
		if !errors.Is(err, context.Canceled) || len(dirFiles(t, dir)) != 0 {
			t.Errorf("%s: %v", compressor, err)
		}
	}
}

// TestExtractTruncated cuts the payload at many places. Each extraction yields the whole library or
// nothing.
func TestExtractTruncated(t *testing.T) {
	for compressor := range modes {
		data := bytesOf(t, pkg(t, compressor))
		payload := len(data) - int(parse(t, data).PayloadSize)
		for n := payload; n < len(data); n += (len(data)-payload)/8 + 1 {
			got, onDisk, err := extract(t, parse(t, data[:n]), []string{libraryName},
				rpmfile.ExtractOptions{})
			if err != nil && (got != nil || len(onDisk) != 0) ||
				err == nil && onDisk["file0"] != string(library()) {
				t.Errorf("%s, %d of %d bytes: %v, %v", compressor, n, len(data), got, err)
			}
		}
	}
}
