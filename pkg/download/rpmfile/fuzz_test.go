package rpmfile_test

import (
	"bytes"
	"errors"
	"os"
	"path"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/download/pgp"
	"github.com/lpbuild/lpbuild/pkg/download/pgp/pgptest"
	"github.com/lpbuild/lpbuild/pkg/download/rpmfile"
)

// FuzzNew reads a package in every way that there is.
func FuzzNew(f *testing.F) {
	f.Add(bytesOf(f, pkg(f, "gzip")))
	f.Add(bytesOf(f, pkg(f, "zstd")))
	f.Add(short(f))
	f.Add(crafted(f, withoutDigest))
	f.Add(crafted(f, func(p *parts) {
		p.payload = archive(cpioEntry{name: "./usr/share/demo/libdemo.so.6", mode: 0o100644, data: "not a library\n"})
	}))
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
			t.Fatal("somebody signed it")
		}
		_ = r.CheckDigests(t.Context())
		var want []string
		for _, file := range r.Files() {
			if !path.IsAbs(file.Name) || path.Clean(file.Name) != file.Name || file.Size < 0 {
				t.Fatalf("file %+v", file)
			}
			if found, ok := r.Find(file.Name); ok && found != file.Name && file.Mode.IsRegular() {
				t.Fatalf("%q is found as %q", file.Name, found)
			}
			if file.Mode.IsRegular() && file.Size < 1<<20 && len(want) < 3 {
				want = append(want, file.Name)
			}
		}
		if r.Compressor != "xz" && r.Compressor != "lzma" { // no process for each input
			extractSome(t, r, want)
		}
	})
}

func extractSome(t *testing.T, r *rpmfile.RPM, want []string) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	got, err := r.Extract(t.Context(), root, want, rpmfile.ExtractOptions{})
	if files := folder(t, dir); err != nil && len(files) != 0 || err == nil && (len(files) != len(want) || len(got) != len(want)) {
		t.Fatalf("wanted %q, got %v, %v", want, got, err)
	}
}
