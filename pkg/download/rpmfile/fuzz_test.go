package rpmfile_test

import (
	"bytes"
	"errors"
	"os"
	"path"
	"slices"
	"testing"

	"github.com/sassoftware/go-rpmutils"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

// small returns a package with few files and tags and without digests, so that mutations of it get
// far.
func small(tb testing.TB, payload []byte) []byte {
	p := takeApart(tb, bytesOf(tb, pkg(tb, "gzip")))
	p.sig, p.payload = rawHeader{}, payload
	p.gen = slices.DeleteFunc(p.gen, func(t rawTag) bool {
		return !slices.Contains([]int32{rpmutils.NAME, rpmutils.VERSION, rpmutils.RELEASE,
			rpmutils.ARCH, rpmutils.BUILDTIME}, t.tag)
	})
	names := []string{"libdemo-2.31.so", "libdemo.so.6", "libhard-1.so", "libhard-2.so"}
	p.gen = append(p.gen, stringsTag(rpmutils.DIRNAMES, "/lib64/"),
		int32Tag(rpmutils.DIRINDEXES, 0, 0, 0, 0),
		stringsTag(rpmutils.BASENAMES, names...), int32Tag(rpmutils.FILESIZES, 5, 15, 4, 4),
		int32Tag(rpmutils.FILEMODES, 0o100755, 0o120777, 0o100644, 0o100644),
		int32Tag(rpmutils.FILEMTIMES, 0, 0, 0, 0),
		int32Tag(rpmutils.FILEFLAGS, 0, 0, 0, 0), stringsTag(rpmutils.FILELINKTOS, "",
			"libdemo-2.31.so", "", ""),
		stringsTag(rpmutils.FILEDIGESTS, "", "", "", ""), int32Tag(rpmutils.FILEINODES, 1, 2, 3, 3),
		int32Tag(rpmutils.FILEDEVICES, 1, 1, 1, 1))
	return p.bytes()
}

// payloads are those of small, for fuzzing and a test.
func payloads() map[string][]byte {
	full := slices.Concat(rawArchive(
		cpioEntry{name: "./lib64/libdemo.so.6", mode: 0o120777, data: "libdemo-2.31.so"},
		cpioEntry{name: "./lib64/libdemo-2.31.so", mode: 0o100755, data: "\x7fELF\x02"},
		cpioEntry{name: "./lib64/libhard-1.so", mode: 0o100644},
		cpioEntry{name: "./lib64/libhard-2.so", mode: 0o100644, data: "hard"},
		cpioEntry{name: "TRAILER!!!"}))
	short := rawArchive(cpioEntry{number: 1, data: "libdemo-2.31.so"},
		cpioEntry{number: 0, data: "\x7fELF\x02"},
		cpioEntry{number: 2}, cpioEntry{number: 3, data: "hard"}, cpioEntry{name: "TRAILER!!!"})
	return map[string][]byte{"full": full, "short": short, "gzip": zipped(full)}
}

// TestSmall keeps the seeds of FuzzNew valid.
func TestSmall(t *testing.T) {
	for name, payload := range payloads() {
		names := []string{"/lib64/libdemo-2.31.so", "/lib64/libhard-1.so"}
		if _, onDisk, err := extract(t, parse(t, small(t, payload)), names,
			rpmfile.ExtractOptions{}); err != nil || onDisk["file1"] != "hard" {
			t.Errorf("%s: %q, %v", name, onDisk, err)
		}
	}
}

// FuzzNew reads a package in every possible way.
func FuzzNew(f *testing.F) {
	for _, payload := range payloads() {
		f.Add(small(f, payload))
	}
	keys := ring(f, pgptest.Ed25519)
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := rpmfile.New(bytes.NewReader(data), int64(len(data)), "fuzz.rpm")
		if err != nil {
			var format *rpmfile.FormatError
			if r != nil || !errors.As(err, &format) {
				t.Fatal(r, err)
			}
			return
		}
		if sig, err := r.Verify(t.Context(), keys, pgp.Policy{}); sig != nil || err == nil {
			t.Fatal("it has a valid signature")
		}
		_ = r.CheckDigests(t.Context())
		var want []string
		for _, file := range r.Files() {
			if !path.IsAbs(file.Name) || path.Clean(file.Name) != file.Name || file.Size < 0 {
				t.Fatalf("file %+v", file)
			}
			if found, ok := r.Find(file.Name); ok && found != file.Name && file.Mode.IsRegular() {
				t.Fatalf("Find(%q) returns %q", file.Name, found)
			}
			locate(t, r, path.Base(file.Name))
			if file.Mode.IsRegular() && file.Size < 1<<20 && len(want) < 3 {
				want = append(want, file.Name)
			}
		}
		if r.Compressor != "xz" && r.Compressor != "lzma" { // no process for each input
			extractSome(t, r, want)
		}
	})
}

// locate checks that each file that a name refers to is in the package, once, for its own
// processors.
func locate(t *testing.T, r *rpmfile.RPM, name string) {
	found, err := r.Locate(name)
	if (err == nil) != (len(found) > 0) {
		t.Fatal(name, found, err)
	}
	paths, variants := map[string]bool{}, map[string]bool{}
	for _, l := range found {
		if p, ok := r.Find(l.Path); !ok || p != l.Path || paths[l.Path] || variants[l.Variant] {
			t.Fatalf("%q is %+v", name, found)
		}
		paths[l.Path], variants[l.Variant] = true, true
	}
}

func extractSome(t *testing.T, r *rpmfile.RPM, want []string) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err := r.Extract(t.Context(), root, want, rpmfile.ExtractOptions{})
	if files := dirFiles(t, dir); err != nil && len(files) != 0 ||
		err == nil && (len(files) != len(want) || len(got) != len(want)) {
		t.Fatalf("wanted %q, got %v, %v", want, got, err)
	}
}
