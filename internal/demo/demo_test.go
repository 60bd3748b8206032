package demo

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestForeignFolder is not touched: only what a demonstration made is made anew.
func TestForeignFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), Options{Dir: dir, Binary: "/bin/false",
		Out: &bytes.Buffer{}}); err == nil {
		t.Error("a directory with somebody's files was used")
	}
	if _, err := os.Stat(filepath.Join(dir, "thesis.tex")); err != nil {
		t.Error(err)
	}
}

func TestBuildOf(t *testing.T) {
	for name, want := range map[string]string{
		"libc_2.31-150300.26.5_livepatch1.so":   "2.31-150300.26.5",
		"libc_2.40-slfo.1.1_3.1_livepatch12.so": "2.40-slfo.1.1_3.1",
	} {
		if got := buildOf(name); got != want {
			t.Errorf("buildOf(%s) = %s, want %s", name, got, want)
		}
	}
}
