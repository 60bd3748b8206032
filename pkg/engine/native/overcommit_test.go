package native

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestOvercommit: where the kernel promises no memory that it does not have
// (vm.overcommit_memory=2), with all of it promised, what counts is refused, and nothing else. The
// setting is for the whole machine, so it is made for moments only. Meanwhile processes with
// CAP_SYS_ADMIN have the gigabytes that are kept for administrators.
func TestOvercommit(t *testing.T) {
	if os.Getenv("LPBUILD_TEST_OVERCOMMIT") == "" {
		t.Skip("sets vm.overcommit_memory of the machine for moments: run \"make test-overcommit\"")
	}
	targettest.NeedOthers(t)
	targettest.NeedNamespaces(t, unix.CLONE_NEWUTS) // CAP_SYS_ADMIN, for which memory is kept
	lib := library(t, nopFlags)
	variables := placed(t, pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c"))
	constant := placed(t, pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source(t, "", "2"),
		"-nostdlib", "-Wl,-z,relro,-z,now"))
	for _, p := range []*Patch{variables, constant} { // the process's user has to see the file
		for path, mode := range map[string]os.FileMode{p.File.Path: 0o644,
			filepath.Dir(p.File.Path): 0o755, filepath.Dir(filepath.Dir(p.File.Path)): 0o755} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, p := range map[string]*Patch{"variables": variables, "constant": constant} {
		for _, way := range loads(t, "anonymous", "memfd", "file") {
			for _, full := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%v", name, way, full), func(t *testing.T) {
					c := limited(t, lib, "user")
					c.says("", "1")
					before := c.snapshot()
					restore := overcommit(t, full)
					_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
						Options{load: way})
					restore()
					if full && name == "variables" {
						if !errors.Is(err, unix.ENOMEM) || !errors.Is(err, ErrRefused) ||
							c.snapshot() != before {
							t.Errorf("full: %v", err)
						}
						c.says("", "1")
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					c.says("", "2")
					c.cleared(before)
					c.says("", "1")
				})
			}
		}
	}
}

// overcommit makes the kernel promise no memory that it does not have. full means that it has none
// for processes without CAP_SYS_ADMIN. restore puts everything back, as does a shell if the test is
// killed.
func overcommit(t *testing.T, full bool) (restore func()) {
	t.Helper()
	const dir = "/proc/sys/vm/"
	lock, err := os.Create(filepath.Join(os.TempDir(), "lpbuild-overcommit.lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	names := []string{"overcommit_memory", "admin_reserve_kbytes", "overcommit_kbytes",
		"overcommit_ratio"}
	back := "read line;"
	for _, name := range names {
		was, err := os.ReadFile(dir + name)
		if err != nil {
			t.Fatal(err)
		}
		if value := strings.TrimSpace(string(was)); value != "0" || name == "overcommit_memory" ||
			name == "admin_reserve_kbytes" {
			// of the last two, one is 0, and to write the other makes it so
			back += fmt.Sprintf("echo %s > %s;", value, dir+name)
		}
	}
	if err := os.WriteFile(dir+"overcommit_memory", []byte("0"), 0); err != nil {
		t.Skipf("vm.overcommit_memory cannot be set here: %v", err)
	}
	sh := exec.Command("sh", "-c", back)
	in, err := sh.StdinPipe()
	if err == nil {
		err = sh.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	done := false
	restore = func() {
		if done {
			return
		}
		done = true
		_ = in.Close()
		if err := sh.Wait(); err != nil {
			t.Errorf("vm.overcommit_memory is not what it was: %v", err)
		}
	}
	t.Cleanup(restore)
	const forAdministrators = 4 << 20 // KiB
	limit := committed(t) + 2*forAdministrators
	reserve := 0
	if full {
		limit, reserve = committed(t)+forAdministrators, forAdministrators
	}
	for _, s := range []struct {
		name  string
		value int
	}{{"admin_reserve_kbytes", reserve}, {"overcommit_kbytes", limit}, {"overcommit_memory", 2}} {
		if err := os.WriteFile(dir+s.name, []byte(strconv.Itoa(s.value)), 0); err != nil {
			t.Fatal(err)
		}
	}
	return restore
}

// committed returns how much memory the kernel has promised, in KiB.
func committed(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "Committed_AS:")
	if _, err := fmt.Sscan(after, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
