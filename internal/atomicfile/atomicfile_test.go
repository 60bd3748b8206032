package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "new", "deep", "file")
	for _, text := range []string{"first", "second, longer", "3"} {
		if err := Write(name, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != text {
			t.Errorf("the file has %q (%v), want %q", got, err, text)
		}
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mode is %v (%v), want 0640", info.Mode(), err)
	}
	onlyFile(t, filepath.Dir(name), "file")
}

// onlyFile checks that a directory has nothing else: no temporary file is left.
func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("%s has %v (%v), want only %s", dir, entries, err, name)
	}
}

// TestWriteReplacesLink leaves the target of a symbolic link alone.
func TestWriteReplacesLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := Write(link, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(target); string(got) != "mine" {
		t.Errorf("the link was followed: %q", got)
	}
	if got, _ := os.ReadFile(link); string(got) != "new" {
		t.Errorf("in place of the link there is %q", got)
	}
}

// TestWriteFails leaves the former content in place and nothing else behind.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "name"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "name", "inside"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(dir, "name")
	if err := Write(taken, []byte("x"), 0o644); err == nil ||
		err.Error() != "write "+taken+": file exists" {
		t.Errorf("a directory was replaced: %v", err)
	}
	onlyFile(t, dir, "name")
	if err := Write(filepath.Join(dir, "name", "inside", "x"), nil, 0o644); err == nil {
		t.Error("a file was used as a directory")
	}
}
