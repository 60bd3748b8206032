package native

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// asUser runs a test again, in a process of a user without privileges, and says whether the test is
// that process.
func asUser(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		return true
	}
	const nobody = 65534
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "test"), self, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		// the user goes through them, and writes into this one
		if err := errors.Join(os.Chmod(d, 0o755), os.Chown(d, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(filepath.Join(dir, "test"), "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as another user: %v\n%s", err, out)
	}
	return false
}

// TestUser is the work of a user for processes of the same user, with the right to trace as this
// machine has it.
func TestUser(t *testing.T) {
	if !asUser(t) {
		return
	}
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	apply := Change{Apply: []*Patch{p}}
	c := start(t, target(t, lib), 2)
	before := c.snapshot()
	if scope, _ := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); len(scope) > 0 &&
		scope[0] > '1' {
		c.refused(apply, Options{}, process.ErrPermission)
		return
	}
	c.apply(Options{}, p)
	c.expect(2)
	c.says("all", patched)
	c.right()
	c.expect(0)
	c.revert()
	c.says("all", original)
	c.cleared(before)

	first := look(t, 1)
	if _, err := newPlan(t.Context(), first, apply,
		Options{}); int(first.UID.Real) != os.Getuid() && !errors.Is(err, process.ErrPermission) {
		t.Errorf("another user's process: %v", err)
	}
}

// TestUserFilter: who may not read a process's filter is told so before the process is stopped; a
// thread without one is used.
func TestUserFilter(t *testing.T) {
	if !asUser(t) {
		return
	}
	if readsFilters() {
		t.Error("a user without privileges can read filters?")
	}
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	apply := Change{Apply: []*Patch{p}}
	c := start(t, target(t, lib), 2)
	c.says("allowone", "0") // the first thread, not those that hammer
	c.apply(Options{}, p)
	c.expect(2)
	c.right()
	c.expect(0)
	c.says("allow", "0") // all of them
	stops := 0
	o := Options{step: func(string) { stops++ }}
	if _, err := do(t.Context(), look(t, c.pid), Change{Revert: everyOne}, o); err != nil {
		t.Errorf("revert: %v", err)
	}
	c.says("all", original)
	if list := c.list(); len(list) != 1 || list[0].Active || stops == 0 {
		t.Errorf("reverted, but without a system call nothing could be given back: %+v", list)
	}
	c.right()

	c = start(t, target(t, lib), 2)
	c.says("allow", "0")
	stops = 0
	c.refused(apply, o, ErrSeccomp)
	if stops != 0 {
		t.Errorf("stopped for %d steps, though it was known before", stops)
	}
	c.right()
	for line := range strings.Lines(status(t, c.pid)) {
		if n, ok := strings.CutPrefix(line, "TracerPid:"); ok && strings.TrimSpace(n) != "0" {
			t.Errorf("traced by %s", n)
		}
	}
}

func status(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
