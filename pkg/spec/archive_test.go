package spec

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree writes files into a new directory and returns them in the form that an archive takes.
func tree(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all[name] = file
	}
	return all
}

var archiveTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// TestArchive expects the same bytes from two directories, modes and times, and that GNU tar can
// read them.
func TestArchive(t *testing.T) {
	content := map[string]string{"b.c": "int b;\n", "a/deep/c.json": "{}", "a.yaml": "x: 1\n"}
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		files := tree(t, content)
		if err := os.Chtimes(files["b.c"], time.Now(), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if err := (&sourceArchive{Top: "x-1", Files: files,
			Time: archiveTime}).Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two archives of the same content differ")
	}
	cmd := exec.Command("tar", "-tvJf", "-", "--utc", "--full-time", "--numeric-owner")
	cmd.Stdin = &first
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := `drwxr-xr-x 0/0               0 2026-01-02 03:04:05 x-1/
-rw-r--r-- 0/0               5 2026-01-02 03:04:05 x-1/a.yaml
drwxr-xr-x 0/0               0 2026-01-02 03:04:05 x-1/a/
drwxr-xr-x 0/0               0 2026-01-02 03:04:05 x-1/a/deep/
-rw-r--r-- 0/0               2 2026-01-02 03:04:05 x-1/a/deep/c.json
-rw-r--r-- 0/0               7 2026-01-02 03:04:05 x-1/b.c
`
	if d := cmp.Diff(want, string(out)); d != "" {
		t.Errorf("tar -t (-want +got):\n%s", d)
	}
}

func TestArchiveRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, file := range map[string]string{"missing": filepath.Join(dir, "gone"),
		"a directory": dir} {
		if err := (&sourceArchive{Top: "x", Files: map[string]string{"f": file},
			Time: archiveTime}).Write(&bytes.Buffer{}); err == nil {
			t.Errorf("%s was archived", name)
		}
	}
}

func TestIsArchiveOf(t *testing.T) {
	for file, want := range map[string]bool{
		"lp-1.0.tar.xz": true, "lp-notes.tar.xz": false, "lp-1.0.txt": false,
		"lp-0.4~rc1.tar.xz": true, "lp-extra-1.0.tar.xz": false, "lp.tar.xz": false,
		"other-1.tar.xz": false,
	} {
		if got := IsArchiveOf(file, "lp"); got != want {
			t.Errorf("IsArchiveOf(%q) = %t", file, got)
		}
	}
}
