package download_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/download"
)

func TestExportsRoundTrip(t *testing.T) {
	want := &download.ExportList{Format: download.ExportsFormat,
		Libraries: map[string]download.ExportedLibrary{
			"libc.so.6": {Path: "/lib64/libc.so.6", Needed: []string{"ld-linux-x86-64.so.2"},
				Symbols: []string{"malloc@GLIBC_2.2.5"}},
		}}
	data, err := want.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	got, err := download.ParseExports(data)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for name, data := range map[string]string{
		"former format": `{"libc.so.6":["malloc"]}`, "newer": `{"format":9,"libraries":{}}`,
		"tail": `{"format":1,"libraries":{}}x`, "empty": "",
	} {
		if l, err := download.ParseExports([]byte(data)); err == nil || l != nil {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

func FuzzParseExports(f *testing.F) {
	f.Add([]byte(`{"format":1,"libraries":{"l.so":{"path":"/lib64/l.so","needed":["m.so"],` +
		`"symbols":["f@V_1","g"]}}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := download.ParseExports(in)
		if err != nil {
			if l != nil {
				t.Fatal("got both a list and an error")
			}
			return
		}
		first, err := l.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		again, err := download.ParseExports(first)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := again.Bytes(); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%v: %s, then %s", err, first, second)
		}
	})
}
