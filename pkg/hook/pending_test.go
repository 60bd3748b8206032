package hook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nextFileOf is the path of a package's file, and nextIs its content.
const nextFileOf = sharedDir + "/target-livepatches/" + nextFile

// aside is where a transactional update puts the live patch of a version.
func aside(version string) string {
	return sharedDir + "/target-livepatches/" + version + "/lp/libtarget_1.0-1_livepatch1.so"
}

// reconcile runs the timer's command for the process, and checks its output.
func (c *child) reconcile(root, want, says string) {
	c.t.Helper()
	r := c.request(root, Reconcile, "")
	if got := lines(c.t, r); got != want {
		c.t.Errorf("the output is %q, want %q", got, want)
	}
	c.says(says)
}

const patchedOne, patchedBefore = "Processes patched: 1, Skipped: 0, Failed: 0.",
	"Processes patched: 0, Skipped: 0, Failed: 0. In 1: already applied."

// TestRollback uses what the running system has after a boot, whatever a transactional update has
// put aside before, and removes that; until the boot, what was put aside counts.
func TestRollback(t *testing.T) {
	for name, tc := range map[string]struct {
		boot string // "" means this one
		want string
		left string
	}{
		"before the boot": {"", tens20, "target-livepatches/2/lib/theirs/file " +
			"target-livepatches/2/lp/libtarget_1.0-1_livepatch1.so target-livepatches/next"},
		"after the boot": {"11111111-2222-3333-4444-555555555555", tens10,
			"target-livepatches/2/lib/theirs/file"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			root := tree(t, map[string]string{at("1"): live(t, 10), aside("2"): live(t, 20),
				"etc/": "", sharedDir + "/target-livepatches/2/lib/theirs/file": "x"})
			r := Request{Root: root, Proc: "/proc", Package: "target-livepatches"}
			r.setHost()
			check(t, r.putNext("2"))
			if tc.boot != "" {
				check(t, os.WriteFile(filepath.Join(root, nextFileOf), []byte(tc.boot+"\n2\n"),
					0o644))
			}
			for _, want := range []string{patchedOne, patchedBefore} {
				c.reconcile(root, want, tc.want)
			}
			if got := content(t, filepath.Join(root, sharedDir)); got != tc.left {
				t.Errorf("/var/livepatches has %q, want %q", got, tc.left)
			}
		})
	}
}

// TestRollbackLibraries withdraws the snapshot's libraries from programs after the boot.
func TestRollbackLibraries(t *testing.T) {
	needsRoot(t)
	host, r := update(t, compileLibrary(t, "c"))
	lines(t, r)
	if linkedTo(t, host) == "" {
		t.Fatal("the library was not moved")
	}
	for _, boot := range []string{"", "another boot\n1\n"} {
		if boot != "" {
			check(t, os.WriteFile(filepath.Join(host, nextFileOf), []byte(boot), 0o644))
		}
		if got := lines(t, Request{Action: Reconcile, Root: host, Proc: "/proc"}); got != "" {
			t.Errorf("the output is %q", got)
		}
		if moved := strings.HasPrefix(linkedTo(t, host),
			"/var/livepatches/"); moved != (boot == "") {
			t.Errorf("in boot %q programs get the library of the snapshot: %v", boot, moved)
		}
	}
	systemConfIs(t, host, "/usr/local/lib\n")
	if got := content(t, filepath.Join(host, "var")); got != "" {
		t.Errorf("/var has %q", got)
	}
}

// TestErasedNext does not bring back what a transactional update has reverted, as long as the
// running snapshot still has it.
func TestErasedNext(t *testing.T) {
	c := start(t)
	host := tree(t, map[string]string{at("1"): live(t, 10), "var/": ""})
	root := tree(t, map[string]string{at("1"): live(t, 10),
		sysconfigFile: "LIVEPATCH_REVERT_ON_REMOVE=yes\n"})
	c.reconcile(host, patchedOne, tens10)
	r := c.request(root, Remove, "1")
	r.Host, r.Transactional, r.Count = host, true, 0
	if got := lines(t, r); got != "Processes reverted: 1, Skipped: 0, Failed: 0." {
		t.Errorf("the output is %q", got)
	}
	c.says(without)
	c.reconcile(host, "", without)
	// rolled back
	check(t, os.WriteFile(filepath.Join(host, nextFileOf), []byte("another boot\n-\n"), 0o644))
	c.reconcile(host, patchedOne, tens10)
	if got := content(t, filepath.Join(host, sharedDir)); got != "" {
		t.Errorf("/var/livepatches has %q", got)
	}
}

// TestInstallAfterUpdate prefers what is installed in the running system to what an update has put
// aside before.
func TestInstallAfterUpdate(t *testing.T) {
	c := start(t)
	root := tree(t, map[string]string{at("1"): live(t, 10), at("2"): live(t, 20), "var/": "",
		"etc/": ""})
	r := c.request(root, Install, "2")
	r.Transactional = true
	if got := lines(t, r); got != patchedOne {
		t.Errorf("the output is %q", got)
	}
	check(t, os.RemoveAll(filepath.Join(root, filepath.Dir(at("2")))))
	if got := lines(t, c.request(root, Install, "1")); got != patchedOne {
		t.Errorf("the output is %q", got)
	}
	c.reconcile(root, patchedBefore, tens10)
	if got := content(t, filepath.Join(root, sharedDir)); got != "" {
		t.Errorf("/var/livepatches has %q", got)
	}
}

// TestForeignShared neither touches nor applies files that are not known to be ours: without a
// record of the next boot, or with one that is invalid, that others could have written, or that
// leads elsewhere.
func TestForeignShared(t *testing.T) {
	for name, prepare := range map[string]func(note string) error{
		"no note": func(string) error { return nil },
		"no version": func(note string) error {
			return os.WriteFile(note, []byte("boot\n"), 0o644)
		},
		"a path": func(note string) error {
			return os.WriteFile(note, []byte("boot\n../../..\n"), 0o644)
		},
		"too long": func(note string) error {
			return os.WriteFile(note, []byte(strings.Repeat("x", maxNext)+"\n2\n"), 0o644)
		},
		"a directory":    func(note string) error { return os.Mkdir(note, 0o755) },
		"a FIFO":         func(note string) error { return unix.Mkfifo(note, 0o644) },
		"world-writable": func(note string) error { return writeOpen(note, "boot\n2\n") },
		"a link": func(note string) error {
			other := filepath.Join(filepath.Dir(note), "other")
			if err := os.WriteFile(other, []byte("boot\n2\n"), 0o644); err != nil {
				return err
			}
			return os.Symlink(other, note)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			root := tree(t, map[string]string{at("1"): live(t, 10), aside("2"): live(t, 20)})
			check(t, prepare(filepath.Join(root, nextFileOf)))
			before := content(t, filepath.Join(root, sharedDir))
			c.reconcile(root, patchedOne, tens10)
			if got := content(t, filepath.Join(root, sharedDir)); got != before {
				t.Errorf("/var/livepatches has %q, had %q", got, before)
			}
		})
	}
}

func writeOpen(name, text string) error {
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Chmod(name, 0o666)
}

// TestTidyFollowsNothing does not follow a link that somebody put in the place of a directory, and
// leaves its target alone.
func TestTidyFollowsNothing(t *testing.T) {
	root := tree(t, map[string]string{
		"theirs/lib_livepatch1.so": "x", "theirs/libc.so.6": "x", "etc/": "", nextFileOf: "",
		sharedDir + "/target-livepatches/1/": "",
	})
	check(t, os.WriteFile(filepath.Join(root, nextFileOf), []byte("another boot\n1\n"), 0o644))
	check(t, os.Chmod(filepath.Join(root, nextFileOf), 0o644))
	for _, link := range []string{"1/lp", "1/lib", "2", "lp"} {
		check(t, os.Symlink(filepath.Join(root, "theirs"),
			filepath.Join(root, sharedDir, "target-livepatches", link)))
	}
	lines(t, Request{Action: Reconcile, Root: root, Proc: "/proc"})
	if got := content(t, filepath.Join(root, "theirs")); got != "lib_livepatch1.so libc.so.6" {
		t.Errorf("%q is left", got)
	}
	if _, err := os.Lstat(filepath.Join(root, nextFileOf)); !os.IsNotExist(err) {
		t.Errorf("the record is still there: %v", err)
	}
}

func FuzzParseNext(f *testing.F) {
	f.Add([]byte("7c3a1c2e-0000-4000-8000-000000000000\n1.2~3\n"))
	f.Add([]byte("\n-\n"))
	f.Add([]byte("boot\n../..\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, ok := parseNext(data)
		if ok && n.version != noVersion && !filepath.IsLocal(n.version) ||
			strings.ContainsAny(n.version, "/\n") {
			t.Errorf("version %q", n.version)
		}
		if !ok && n != (next{}) {
			t.Errorf("%v for an invalid record", n)
		}
	})
}
