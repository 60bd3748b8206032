package hook

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLock lets one run work at a time: the timer's gives up, a transaction continues after a
// while.
func TestLock(t *testing.T) {
	c := start(t)
	root := tree(t, map[string]string{at("1"): live(t, 10), "run/": ""})
	other := Request{Root: root}
	other.setHost()
	unlock, err := other.lock(t.Context(), 0)
	check(t, err)
	if _, err := other.lock(t.Context(), 0); err != errLocked {
		t.Errorf("two runs have the lock: %v", err)
	}
	if got := lines(t, c.request(root, Reconcile, "")); got != "" {
		t.Errorf("the output is %q", got)
	}
	c.says(without)
	r := c.request(root, Install, "1")
	r.Deadline = 4 * time.Second
	if got := lines(t, r); got != "Processes patched: 1, Skipped: 0, Failed: 0." {
		t.Errorf("the output is %q", got)
	}
	c.says(tens10)
	go unlock()
	again, err := other.lock(t.Context(), time.Minute)
	check(t, err)
	again()
	if info, err := os.Stat(filepath.Join(root, lockFile)); err != nil ||
		info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

// TestNoLock works where no lock can be made, or where somebody else has put something there.
func TestNoLock(t *testing.T) {
	for name, prepare := range map[string]func(root string) error{
		"no directory": func(string) error { return nil },
		"a link": func(root string) error {
			put(t, root, map[string]string{"run/": "", "theirs": "x"})
			return os.Symlink(filepath.Join(root, "theirs"), filepath.Join(root, lockFile))
		},
	} {
		root := t.TempDir()
		check(t, prepare(root))
		r := Request{Root: root}
		r.setHost()
		for range 2 {
			if _, err := r.lock(t.Context(), 0); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestLockOfUser checks that a lock that others can open, and so hold, delays nobody.
func TestLockOfUser(t *testing.T) {
	for _, mode := range []os.FileMode{0o666, 0o644, 0o604} {
		root := tree(t, map[string]string{lockFile: ""})
		name := filepath.Join(root, lockFile)
		check(t, os.Chmod(name, mode))
		theirs, err := os.Open(name)
		check(t, err)
		defer theirs.Close()
		check(t, unix.Flock(int(theirs.Fd()), unix.LOCK_EX))
		r := Request{Root: root}
		r.setHost()
		unlock, err := r.lock(t.Context(), 0)
		if err != nil {
			t.Errorf("%v: %v", mode, err)
		}
		if _, err := r.lock(t.Context(), 0); err != errLocked {
			t.Errorf("%v: two runs have the lock: %v", mode, err)
		}
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		unlock()
	}
}
