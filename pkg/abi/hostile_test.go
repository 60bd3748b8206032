package abi_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/abi"
)

// TestCircular reads types that consist of themselves: the names end somewhere.
func TestCircular(t *testing.T) {
	out := filepath.Join(t.TempDir(), "circular.so")
	run(t, "gcc", "-shared", "-nostdlib", "-o", out, "testdata/circular.s")
	f := one(t, read(t, out).Function("f"))
	if len(f.Params) != 7 {
		t.Fatalf("%+v", f)
	}
	for i, p := range f.Params {
		if p.Type.Name == "" || len(p.Type.Name) > 4000 {
			t.Errorf("parameter %d: %+v", i, p)
		}
	}
}

// TestDamaged reads a library cut short, or with a byte changed, at many places.
func TestDamaged(t *testing.T) {
	good, err := os.ReadFile(library(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(good); n += 97 {
		_, _ = abi.Read(bytes.NewReader(good[:n]), abi.Options{})
		bad := bytes.Clone(good)
		bad[n] ^= 0xff
		_, _ = abi.Read(bytes.NewReader(bad), abi.Options{})
	}
}

func FuzzRead(f *testing.F) {
	for _, options := range [][]string{{"-gdwarf-4"}, {"-gdwarf-5"}, {"-gz=zlib"}} {
		b, err := os.ReadFile(library(f, options...))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = abi.Read(bytes.NewReader(b), abi.Options{})
	})
}
