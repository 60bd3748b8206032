package regularfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	name := func(base string) string { return filepath.Join(dir, base) }
	if err := os.WriteFile(name("file"), []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(name("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("fifo", name("link")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for what, tc := range map[string]struct {
		name  string
		limit int64
		want  error
	}{
		"a file": {"file", 100, nil}, "exactly at the limit": {"file", 5, nil},
		"larger": {"file", 4, ErrTooLarge}, "missing": {"none", 5, fs.ErrNotExist},
		"a FIFO": {"fifo", 5, ErrIrregular}, "a link to a file": {"link", 5, ErrIrregular},
		"a directory": {".", 5, ErrIrregular},
	} {
		for how, read := range map[string]func() ([]byte, error){
			"Read":   func() ([]byte, error) { return Read(name(tc.name), tc.limit) },
			"ReadIn": func() ([]byte, error) { return ReadIn(root, tc.name, tc.limit) },
		} {
			if data, err := read(); !errors.Is(err, tc.want) ||
				(tc.want == nil) != (string(data) == "12345") {
				t.Errorf("%s of %s: %q, %v; want %v", how, what, data, err, tc.want)
			}
		}
	}
	if _, err := Read("/dev/zero", 5); !errors.Is(err, ErrIrregular) {
		t.Errorf("a device: %v", err)
	}
	if f, _, err := Open(name("link"), syscall.O_NOFOLLOW); err == nil {
		f.Close()
		t.Error("a link was followed")
	}
}

// TestEverywhere expects every package to read files with this one, or by other means that do not
// block either.
func TestEverywhere(t *testing.T) {
	permitted := map[string]string{
		"pkg/engine/process/frozen.go": "a file of /proc",
		"cmd/lpbuild/ulp_process.go":   "a file of /proc",
		"pkg/engine/probes.go":         "a file of the kernel",
		"internal/pgptest/pgptest.go":  "tests",
	}
	calls := regexp.MustCompile(`\bos\.(ReadFile|Open)\(`)
	root := os.DirFS("../..")
	for _, dir := range []string{"pkg", "cmd"} {
		err := fs.WalkDir(root, dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") ||
				strings.HasSuffix(name, "_test.go") {
				return err
			}
			text, err := fs.ReadFile(root, name)
			if call := calls.Find(text); call != nil && permitted[name] == "" {
				t.Errorf("%s: %s…) blocks on a FIFO, and has no bound", name, call)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
