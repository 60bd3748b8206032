package abi_test

import (
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/abi"
)

func hexString(b []byte) string { return hex.EncodeToString(b) }

// run runs a program and returns its output.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// library compiles testdata/library.c with options and returns the library's path.
func library(t testing.TB, options ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "library.so")
	args := append([]string{"-shared", "-fPIC", "-O2", "-g", "-o", out}, options...)
	run(t, "gcc", append(args, "testdata/library.c")...)
	return out
}

// open opens a file for the length of a test.
func open(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// read returns the facts of a file, with supplementary files found beside it.
func read(t testing.TB, name string) *abi.Facts {
	t.Helper()
	facts, err := abi.Read(open(t, name), abi.Options{Alt: besides(t, name)})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func besides(t testing.TB, name string) func(string, string) (io.ReaderAt, error) {
	return func(alt, _ string) (io.ReaderAt, error) {
		if !filepath.IsAbs(alt) {
			alt = filepath.Join(filepath.Dir(name), alt)
		}
		return open(t, alt), nil
	}
}
