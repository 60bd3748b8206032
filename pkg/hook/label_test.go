package hook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const someLabel = "system_u:object_r:lib_t:s0\x00"

// labelled gives files a label, as the policy would.
func labelled(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range files {
		if err := unix.Lsetxattr(file, selinuxLabel, []byte(someLabel), 0); err != nil {
			t.Skipf("files cannot be labelled here: %v", err)
		}
	}
}

func labelIs(t *testing.T, file, want string) {
	t.Helper()
	label := make([]byte, maxLabel)
	n, err := unix.Lgetxattr(file, selinuxLabel, label)
	if got := string(label[:max(n, 0)]); got != want {
		t.Errorf("%s has the label %q, %v, want %q", file, got, err, want)
	}
}

// TestLabels puts live patches and libraries aside with the labels of their originals.
func TestLabels(t *testing.T) {
	needsRoot(t)
	host, r := update(t, compileLibrary(t, "c"))
	labelled(t, filepath.Join(r.Root, at("1")), filepath.Join(host, "lib64", libName))
	r.Action = Install
	lines(t, r)
	labelIs(t, filepath.Join(host, aside("1")), someLabel)
	r.Action = MoveLibs
	if got := lines(t, r); !strings.Contains(got, "new processes get ") {
		t.Errorf("the output is %q", got)
	}
	// The snapshot may not be labelled yet; the running system's services decide what matters.
	labelIs(t, filepath.Join(host, sharedDir, "target-livepatches/1/lib", libName), someLabel)
}

// TestSameLabel does nothing where there are no labels, and reports failures.
func TestSameLabel(t *testing.T) {
	dir := tree(t, map[string]string{"a": "", "b": ""})
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := sameLabel(a, b); err != nil {
		t.Error(err)
	}
	if err := sameLabel(a+"x", b); err == nil {
		t.Error("a missing file has a label")
	}
	labelled(t, a)
	if err := sameLabel(a, b); err != nil {
		t.Error(err)
	}
	labelIs(t, b, someLabel)
	check(t, os.Remove(b))
	if err := sameLabel(a, b); err == nil || !strings.Contains(err.Error(), "lib_t") {
		t.Errorf("a missing file was labelled: %v", err)
	}
}
