package targettest

import (
	"bytes"
	"debug/elf"
	"os/exec"
	"path/filepath"
	"testing"
)

// Loader returns the dynamic loader that a program names, its path without links.
func Loader(t testing.TB, program string) string {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	section := f.Section(".interp")
	if section == nil {
		t.Fatalf("%s names no loader", program)
	}
	b, err := section.Data()
	if err != nil {
		t.Fatal(err)
	}
	path, err := filepath.EvalSymlinks(string(bytes.TrimRight(b, "\x00")))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// StrippedLoader returns a copy of a program's loader that has the symbols alone that it exports,
// as some distributors ship it.
func StrippedLoader(t testing.TB, program string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "loader")
	if out, err := exec.CommandContext(t.Context(), "strip", "-o", path, Loader(t, program)).
		CombinedOutput(); err != nil {
		t.Fatalf("strip: %v\n%s", err, out)
	}
	return path
}
