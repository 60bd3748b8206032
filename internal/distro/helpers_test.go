package distro

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// output runs a tool with the test's own home and returns its combined output; the test ends if the
// tool fails.
func output(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), t.TempDir(), dir, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(ctx context.Context, home, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GNUPGHOME=" + home, "LC_ALL=C"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// unpack returns a directory with the content of RPMs, as rpm2cpio and cpio unpack it.
func unpack(t *testing.T, rpms ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, rpm := range rpms {
		output(t, dir, "sh", "-c", `rpm2cpio "$0" | cpio -idm --quiet`, rpm)
	}
	return dir
}

// rpmOf returns the paths of a cached build's two RPMs; debuginfo is "" if there is none.
func rpmOf(t *testing.T, b Build) (rpm, debuginfo string) {
	t.Helper()
	rpms, debug, err := cachedRPMs(t.Context(), []Build{b})
	if err != nil {
		t.Fatal(err)
	}
	if len(debug) == 1 {
		debuginfo = debug[0]
	}
	return rpms[0], debuginfo
}

// lines returns the set of the trimmed lines of a text.
func lines(text string) map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(text) {
		set[strings.TrimSpace(line)] = true
	}
	return set
}

func wantLines(t *testing.T, text string, want ...string) {
	t.Helper()
	have := lines(text)
	for _, w := range want {
		if !have[w] {
			t.Errorf("the line %q is missing in\n%s", w, text)
		}
	}
}

// contentOf returns the names of all files below dir, relative to it.
func contentOf(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, name)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
