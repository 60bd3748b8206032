package hook

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// TestOurs tells processes that see the folder of the live patches from those that see another one under its name.
func TestOurs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a mount namespace")
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("needs mounts of its own; in a chroot its folder must be a mount point, such as one bound to itself: %v: %s", err, out)
	}
	root := tree(t, map[string]string{at("1"): ""})
	folder := filepath.Join(root, filepath.Dir(at("1")))
	m, err := newOurs("/proc", []string{filepath.Join(root, "usr"), folder}, func(path string) string { return path })
	check(t, err)
	for script, want := range map[string]bool{
		"": true,
		`mount -t tmpfs none "$0" && mkdir -p "$1"`: false, // another folder under the name
		`mount -t tmpfs none "$0"`:                  false, // nothing there
		`mount --bind "$1" "$1"`:                    true,  // the same folder, mounted again
	} {
		if script != "" {
			script += " && "
		}
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script+`echo ready && exec sleep 1000`, filepath.Join(root, "usr"), folder)
		c := targettest.Start(t, cmd)
		c.Line()
		if got := m.has(t.Context(), look(t, c.PID)); got != want {
			t.Errorf("%q: ours: %v, want %v", script, got, want)
		}
	}
}

func look(t *testing.T, pid int) *process.Process {
	t.Helper()
	p, err := process.Look(t.Context(), pid, process.Options{})
	check(t, err)
	return p
}
