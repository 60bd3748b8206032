package rpmfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

func TestOpen(t *testing.T) {
	for compressor := range modes {
		t.Run(compressor, func(t *testing.T) {
			path := pkg(t, compressor)
			r := open(t, path)
			if want := (rpmver.EVR{Epoch: 2, Version: "2.31",
				Release: "150300.26.5"}); r.EVR != want {
				t.Errorf("EVR %+v, want %+v", r.EVR, want)
			}
			if got := r.NEVRA(); got != "libdemo-2:2.31-150300.26.5.x86_64" ||
				r.Name != "libdemo" || r.Arch != "x86_64" {
				t.Errorf("NEVRA %s, name %s, arch %s", got, r.Name, r.Arch)
			}
			got := fmt.Sprintf("%s %d %s", r.SourceRPM, r.BuildTime.Unix(), r.Compressor)
			want := query(t, path, "%{SOURCERPM} %{BUILDTIME} %{PAYLOADCOMPRESSOR}")
			if got != strings.Replace(want, "(none)", "", 1) || r.Compressor != compressor {
				t.Errorf("got %s, rpm says %s", got, want)
			}
			if r.PayloadSize <= 100_000 || r.PayloadSize >= int64(len(bytesOf(t, path))) {
				t.Errorf("payload of %d bytes", r.PayloadSize)
			}
			if err := r.CheckDigests(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	path := pkg(t, "gzip")
	want := query(t, path, `[%{FILENAMES} %{FILESIZES} %{FILEMODES:perms} %{FILELINKTOS}\n]`)
	var got strings.Builder
	for _, f := range open(t, path).Files() {
		perms := strings.ToLower(f.Mode.String())
		// rpm and Go print it alike, except that Go has one more dash for plain files
		if perms[0] == 'l' {
			perms = "l" + perms[len(perms)-9:]
		}
		fmt.Fprintln(&got, strings.TrimSpace(fmt.Sprintf("%s %d %s %s", f.Name, f.Size, perms,
			f.Link)))
	}
	var lines []string
	for line := range strings.Lines(want) {
		if !strings.Contains(line, "ghost") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if d := cmp.Diff(strings.Join(lines, "\n")+"\n", got.String()); d != "" {
		t.Errorf("Files (-rpm +got):\n%s", d)
	}
	for _, f := range open(t, path).Files() {
		if f.Name == "/lib64/libdemo-2.31.so" && !f.ModTime.Equal(time.Unix(1700000000, 0)) {
			t.Errorf("%s is of %s", f.Name, f.ModTime)
		}
	}
}

// TestFileModes has modes that would need root in rpmbuild.
func TestFileModes(t *testing.T) {
	tests := map[uint32]fs.FileMode{
		0o104755: fs.ModeSetuid | 0o755, 0o041777: fs.ModeDir | fs.ModeSticky | 0o777,
		0o102711: fs.ModeSetgid | 0o711,
		0o020600: fs.ModeDevice | fs.ModeCharDevice | 0o600, 0o060600: fs.ModeDevice | 0o600,
		0o010600: fs.ModeNamedPipe | 0o600, 0o140600: fs.ModeSocket | 0o600,
		0o000644: fs.ModeIrregular | 0o644,
	}
	for mode, want := range tests {
		data := crafted(t, func(p *parts) {
			modes := p.gen.find(rpmutils.FILEMODES)
			modes.data[0], modes.data[1] = byte(mode>>8), byte(mode)
		})
		if got := parse(t, data).Files()[0].Mode; got != want {
			t.Errorf("mode %o: got %s, want %s", mode, got, want)
		}
	}
}

func TestOpenNot(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	var format *rpmfile.FormatError
	for _, path := range []string{fifo, dir} {
		if r, err := rpmfile.Open(path); r != nil || !errors.As(err, &format) {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if r, err := rpmfile.Open(filepath.Join(dir, "missing")); r != nil ||
		!errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestChanged opens a package that is replaced before it is verified.
func TestChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.rpm")
	write(t, path, bytesOf(t, pkg(t, "gzip")))
	r := open(t, path)
	write(t, path+".new", bytesOf(t, pkg(t, "xz")))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if err := r.CheckDigests(t.Context()); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := r.CheckDigests(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// badPackage checks that New rejects data with an error that contains the text.
func badPackage(t *testing.T, data []byte, words string) {
	t.Helper()
	r, err := rpmfile.New(bytes.NewReader(data), int64(len(data)), "bad.rpm")
	var format *rpmfile.FormatError
	if r != nil || !errors.As(err, &format) || format.Name != "bad.rpm" {
		t.Fatalf("New = %v, %v", r, err)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("%q lacks %q", err, words)
	}
}

func TestNewHostileHeader(t *testing.T) {
	tests := map[string]struct {
		change func(*parts)
		want   string
	}{
		"no name": {func(p *parts) { p.gen.drop(rpmutils.NAME) },
			"tag 1000 is missing"},
		"two names": {func(p *parts) { p.gen.set(stringsTag(rpmutils.NAME, "a", "b")) },
			"number of values"},
		"a number for a name": {func(p *parts) { p.gen.set(int32Tag(rpmutils.NAME, 1)) },
			"datatype"},
		"a path for a name": {func(p *parts) {
			p.gen.set(stringTag(rpmutils.NAME, "../../etc/x"))
		}, "not a valid name"},
		"a line end in the architecture": {func(p *parts) {
			p.gen.set(stringTag(rpmutils.ARCH, "x86_64\n"))
		}, "not a valid name"},
		"a bad version": {func(p *parts) { p.gen.set(stringTag(rpmutils.VERSION, "1/2")) },
			"RPM version"},
		"no release": {func(p *parts) { p.gen.drop(rpmutils.RELEASE) },
			"tag 1002 is missing"},
		"two epochs": {func(p *parts) { p.gen.set(int32Tag(rpmutils.EPOCH, 1, 2)) },
			"2 values"},
		"an epoch too large": {func(p *parts) { p.gen.set(int32Tag(rpmutils.EPOCH, 1<<31)) },
			"epoch"},
		"text for a time": {func(p *parts) { p.gen.set(stringTag(rpmutils.BUILDTIME, "now")) },
			"int type"},
		"another payload": {func(p *parts) {
			p.gen.set(stringTag(rpmutils.PAYLOADFORMAT, "drpm"))
		}, "drpm"},
		"files of RPM 3": {func(p *parts) {
			p.gen.drop(rpmutils.BASENAMES)
			p.gen.set(stringsTag(rpmutils.OLDFILENAMES, "/a"))
		}, "RPM 3"},
		"a missing directory": {func(p *parts) { p.gen.find(rpmutils.DIRINDEXES).data[3] = 200 },
			"in directory 200"},
		"sizes missing": {func(p *parts) { p.gen.drop(rpmutils.FILESIZES) },
			"tag 1028"},
		"sizes too few": {func(p *parts) {
			p.gen.set(int32Tag(rpmutils.FILESIZES, 1))
		}, "1 values for"},
		"a name that climbs": {func(p *parts) {
			replace(p, rpmutils.BASENAMES, "libempty.so", "..")
		}, "leads out of the package"},
		"a name with a slash": {func(p *parts) {
			replace(p, rpmutils.BASENAMES, "libempty.so", "a/../../b")
		}, "leads out of the package"},
		"a directory that climbs": {func(p *parts) {
			replace(p, rpmutils.DIRNAMES, "/usr/lib64/", "/usr/../../")
		}, "leads out of the package"},
		"a name too long": {func(p *parts) {
			replace(p, rpmutils.BASENAMES, "libempty.so", strings.Repeat("x", 5000))
		}, "too long"},
		"two digest algorithms": {func(p *parts) {
			p.gen.set(int32Tag(rpmutils.FILEDIGESTALGO, 8, 8))
		}, "digest algorithm"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { badPackage(t, crafted(t, tc.change), tc.want) })
	}
}

// replace changes one of a tag's strings.
func replace(p *parts, tag int32, from, to string) {
	t := p.gen.find(tag)
	t.data = bytes.Replace(t.data, []byte(from+"\x00"), []byte(to+"\x00"), 1)
}

// TestNewHostileTable has tables that make go-rpmutils panic, or allocate without bound.
func TestNewHostileTable(t *testing.T) {
	lead := bytesOf(t, pkg(t, "gzip"))[:96]
	table := func(tag, kind, off, count int32) []byte {
		h := rawHeader{{tag: tag, kind: kind, count: count, data: make([]byte, 64)}}.encode()
		h[16+8], h[16+9], h[16+10], h[16+11] = byte(off>>24), byte(off>>16), byte(off>>8), byte(off)
		return append(bytes.Clone(lead), append(h, rawHeader{}.encode()...)...)
	}
	overlapping := rawHeader{}
	for i := range 100 {
		overlapping = append(overlapping, rawTag{tag: int32(1000 + i), kind: 7, count: 1000})
	}
	overlapping[0].data = make([]byte, 1000)
	overlap := overlapping.encode()
	for i := range overlapping {
		copy(overlap[16+16*i+8:], []byte{0, 0, 0, 0})
	}
	many := stringsTag(1000)
	many.count, many.data = 1<<21+1, make([]byte, 1<<21+1)
	tests := map[string]struct {
		data []byte
		want string
	}{
		"nothing":       {nil, "EOF"},
		"only a lead":   {lead, "EOF"},
		"not a package": {bytes.Repeat([]byte("<html>"), 100), "not an RPM"},
		"not a header": {append(bytes.Clone(lead), make([]byte, 64)...),
			"no header magic"},
		"negative count":      {table(1000, 6, 0, -1), "outside"},
		"negative offset":     {table(1000, 6, -1, 1), "outside"},
		"offset outside":      {table(1000, 7, 65, 0), "outside"},
		"count outside":       {table(1000, 7, 0, 65), "longer than the header"},
		"count that wraps":    {table(1000, 5, 0, 1<<30), "longer than the header"},
		"strings without end": {table(1000, 8, 0, 65), "longer than the header"},
		"unknown type":        {table(1000, 10, 0, 1), "unknown type 10"},
		"negative type":       {table(1000, -1, 0, 1), "unknown type -1"},
		"too many tags":       {append(bytes.Clone(lead), intro(1<<16+1, 0)...), "tags"},
		"too long": {append(bytes.Clone(lead), intro(1, 1<<27)...),
			"the headers have more than"},
		"longer than the file": {append(bytes.Clone(lead), intro(1, 1<<20)...), "EOF"},
		"values that overlap":  {append(bytes.Clone(lead), overlap...), "EOF"},
		"values that overlap 2": {slicesConcat(lead, overlap, make([]byte, -len(overlap)&7),
			rawHeader{}.encode()), "overlap"},
		"too many strings": {slicesConcat(lead, rawHeader{many}.encode(), make([]byte, 7),
			rawHeader{}.encode()), "strings"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) { badPackage(t, tc.data, tc.want) })
	}
}

func slicesConcat(pieces ...[]byte) []byte { return bytes.Join(pieces, nil) }

// TestNewAmplified has a small header whose file names would take terabytes.
func TestNewAmplified(t *testing.T) {
	const n = 100_000
	data := crafted(t, func(p *parts) {
		indexes := make([]uint32, n)
		p.gen.set(stringsTag(rpmutils.DIRNAMES, "/"+strings.Repeat("x", 4000)))
		p.gen.set(int32Tag(rpmutils.DIRINDEXES, indexes...))
		names := stringsTag(rpmutils.BASENAMES)
		names.count, names.data = n, bytes.Repeat([]byte("y\x00"), n)
		p.gen.set(names)
	})
	badPackage(t, data, "too long")
}

// TestNewTruncated cuts a package everywhere in its headers and at some places in its payload.
func TestNewTruncated(t *testing.T) {
	data := bytesOf(t, pkg(t, "gzip"))
	payload := len(data) - int(parse(t, data).PayloadSize)
	for n := 0; n < payload; n += 3 {
		badPackage(t, data[:n], "")
	}
	for n := payload; n < len(data); n += len(data) / 50 {
		if err := parse(t, data[:n]).CheckDigests(t.Context()); !errors.Is(err,
			digest.ErrMismatch) || !strings.Contains(err.Error(), "truncated") {
			t.Errorf("%d of %d bytes: %v", n, len(data), err)
		}
	}
}

// TestNewReadError distinguishes a broken disk from a broken package.
func TestNewReadError(t *testing.T) {
	_, err := rpmfile.New(brokenDisk{}, 1<<20, "a.rpm")
	var format *rpmfile.FormatError
	if !errors.Is(err, syscall.EIO) || errors.As(err, &format) {
		t.Errorf("got %v", err)
	}
}

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: "a.rpm", Err: syscall.EIO}
}
