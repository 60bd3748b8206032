package hook

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// withoutOpenat2 runs a test as on a kernel that has openat2 and as on one without it.
func withoutOpenat2(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Run("openat2", test)
	real := openat2
	defer func() { openat2 = real }()
	openat2 = func(int, string, *unix.OpenHow) (int, error) { return -1, unix.ENOSYS }
	t.Run("walk", test)
}

// needsMounts skips a test where no mount namespace can be made.
func needsMounts(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a mount namespace")
	}
	if out, err := exec.Command("unshare", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("needs mounts of its own; in a chroot its directory must be a mount point, such "+
			"as one bound to itself: %v: %s", err, out)
	}
}

// TestOurs distinguishes processes that see the directory of the live patches from those that see
// another one under its name.
func TestOurs(t *testing.T) { withoutOpenat2(t, testOurs) }

func testOurs(t *testing.T) {
	needsMounts(t)
	root := tree(t, map[string]string{at("1"): ""})
	dir := filepath.Join(root, filepath.Dir(at("1")))
	m, err := newOurs("/proc", []string{filepath.Join(root, "usr"), dir},
		func(path string) string { return path })
	check(t, err)
	for script, want := range map[string]error{
		"": nil,
		// another directory under the name
		`mount -t tmpfs none "$0" && mkdir -p "$1"`: engine.ErrElsewhere,
		`mount -t tmpfs none "$0"`:                  engine.ErrElsewhere, // nothing there
		// the same directory, mounted again
		`mount --bind "$1" "$1"`: nil,
	} {
		if script != "" {
			script += " && "
		}
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script+
			`echo ready && exec sleep 1000`, filepath.Join(root, "usr"), dir)
		c := targettest.Start(t, cmd)
		c.Line()
		targettest.Await(t, "the shell to become sleep",
			func() bool { return look(t, c.PID).Name == "sleep" })
		if got := m.has(t.Context(), look(t, c.PID)); !errors.Is(got, want) {
			t.Errorf("%q: %v, want %v", script, got, want)
		}
	}
}

// TestOursChroot has processes in chroots whose links would lead out of them to the live patches of
// this system, and some whose links lead to them inside.
func TestOursChroot(t *testing.T) { withoutOpenat2(t, testOursChroot) }

func testOursChroot(t *testing.T) {
	needsMounts(t)
	root := tree(t, map[string]string{at("1"): "x"})
	dir := filepath.Join(root, filepath.Dir(at("1")))
	m, err := newOurs("/proc", []string{dir}, func(path string) string { return path })
	check(t, err)
	deep := strings.Count(dir, "/")
	for name, tc := range map[string]struct {
		link string // where the chroot has the directory
		bind string // where in the chroot the directory is mounted
		want error
	}{
		"nothing":              {"", "", engine.ErrElsewhere},
		"an absolute link out": {dir, "", engine.ErrElsewhere},
		"a relative link out": {strings.Repeat("../", deep+9) + dir[1:], "",
			engine.ErrElsewhere},
		"a link of proc":                 {"/proc/1/root" + dir, "", engine.ErrElsewhere},
		"a link of proc to an open file": {"/proc/self/cwd", "", engine.ErrElsewhere},
		"a link to itself":               {filepath.Base(dir), "", engine.ErrElsewhere},
		"an absolute link inside":        {"/inside", "/inside", nil},
		"a relative link inside": {strings.Repeat("../", deep+3) + "inside", "/inside",
			nil},
		"the directory itself": {"", dir, nil},
	} {
		jail := t.TempDir()
		check(t, os.MkdirAll(jail+filepath.Dir(dir), 0o755))
		check(t, os.MkdirAll(jail+"/proc", 0o755))
		if tc.link != "" {
			check(t, os.Symlink(tc.link, jail+dir))
		}
		script := `mount -t proc proc "$0/proc"`
		if tc.bind != "" {
			check(t, os.MkdirAll(jail+tc.bind, 0o755))
			script += ` && mount --bind "$1" "$0` + tc.bind + `"`
		}
		check(t, os.MkdirAll(jail+"/bin", 0o755))
		sleeper := filepath.Join(builds.Dir, "sleeper")
		if _, err := os.Stat(sleeper); err != nil {
			check(t, os.WriteFile(sleeper+".c", []byte("#include <unistd.h>\nint "+
				"main(void){write(1,\"ready\\n\",6);for(;;)pause();}\n"), 0o644))
			check(t, targettest.Compile(t.Context(), sleeper, "-static", sleeper+".c"))
		}
		image, err := os.ReadFile(sleeper)
		check(t, err)
		check(t, os.WriteFile(jail+"/bin/sleeper", image, 0o755))
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script+
			` && exec chroot "$0" /bin/sleeper`, jail, dir)
		cmd.Dir = dir // the shell's, and not the chroot's
		c := targettest.Start(t, cmd)
		c.Line()
		if got := m.has(t.Context(), look(t, c.PID)); !errors.Is(got, tc.want) ||
			(got == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// TestOursElsewhere counts and names a process that has mapped the library and does not see the
// package: in another root, or with an empty directory in its place. One that sees it in its own
// mount namespace is patched like any other.
func TestOursElsewhere(t *testing.T) {
	needsMounts(t)
	check(t, build())
	root := tree(t, map[string]string{at("1"): live(t, 10)})
	for script, want := range map[string]string{
		"true": "Processes patched: 1, Skipped: 0, Failed: 0.",
		`mount -t tmpfs none "$1"`: "Processes patched: 0, Skipped: 1, Failed: 0.\nskipped: " +
			"program (PID): left alone: it does not see the package's live patches at their path " +
			"(a container, a chroot, a service with a root of its own): install the package " +
			"there, or restart it",
	} {
		cmd := exec.Command("unshare", "--mount", "sh", "-c", script+` && exec "$0"`,
			filepath.Join(builds.Dir, "program"), filepath.Join(root, "usr"))
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+builds.Dir)
		c := &child{targettest.Start(t, cmd), t}
		c.Line()
		for _, dry := range []bool{true, false} {
			r := c.request(root, Install, "1")
			r.DryRun = dry
			want := want
			if dry {
				want = strings.NewReplacer("Processes patched", "Dry run, processes that would "+
					"be patched", "Skipped", "skipped", "Failed", "failed").Replace(want)
			}
			if got := strings.ReplaceAll(lines(t, r), strconv.Itoa(c.PID), "PID"); got != want {
				t.Errorf("%s: the output is\n%s\nwant\n%s", script, got, want)
			}
		}
		if script == "true" {
			c.says(tens10)
		} else {
			c.says(without)
		}
	}
}

func look(t *testing.T, pid int) *process.Process {
	t.Helper()
	p, err := process.Look(t.Context(), pid, process.Options{})
	check(t, err)
	return p
}

// TestHostLinks reads nothing for the running system from this one, and writes nothing to it,
// because of an absolute link there.
func TestHostLinks(t *testing.T) { withoutOpenat2(t, testHostLinks) }

func testHostLinks(t *testing.T) {
	for _, link := range []string{"var", "run", "etc"} {
		c := start(t)
		root := tree(t, map[string]string{at("1"): live(t, 10)})
		host := tree(t, map[string]string{"usr/lib64/": ""})
		elsewhere := t.TempDir()
		check(t, os.MkdirAll(filepath.Dir(filepath.Join(host, link)), 0o755))
		check(t, os.Symlink(elsewhere, filepath.Join(host, link)))
		r := c.request(root, Install, "1")
		r.Host, r.Transactional = host, true
		if got := lines(t, r); !strings.Contains(got, "an absolute link leads out of the running "+
			"system's root") {
			t.Errorf("%s: the output is %q", link, got)
		}
		if got := content(t, elsewhere); got != "" {
			t.Errorf("%s: outside there is %q", link, got)
		}
		c.says(without)
	}
	host := tree(t, map[string]string{"real/lib/": "", "real/run/": ""})
	check(t, os.Symlink("real", filepath.Join(host, "relative")))
	check(t, os.Symlink("/real", filepath.Join(host, "absolute")))
	for path, good := range map[string]bool{"relative/lib": true, "real/lib": true, "none": true,
		"absolute/lib": false, "relative/none": true} {
		if err := plain(host, path); (err == nil) != good {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestOursGone checks that a PID that another process has by now does not stand for the examined
// one.
func TestOursGone(t *testing.T) {
	root := tree(t, map[string]string{at("1"): ""})
	m, err := newOurs("/proc", []string{root}, func(path string) string { return path })
	check(t, err)
	now := look(t, os.Getpid())
	if err := m.has(t.Context(), now); err != nil {
		t.Error(err)
	}
	before := *now
	before.StartTime--
	if err := m.has(t.Context(), &before); !errors.Is(err, process.ErrGone) {
		t.Errorf("%v, want %v", err, process.ErrGone)
	}
}
