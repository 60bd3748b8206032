package hook

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTransactional applies live patches from /var/livepatches, keeps one version there, and
// removes them when the package is erased.
func TestTransactional(t *testing.T) {
	c := start(t)
	root := tree(t, map[string]string{at("1"): live(t, 10), at("2"): live(t, 20),
		"usr/lib64/target-livepatches/1/README": "x", "var/": ""})
	r := c.request(root, Install, "1")
	r.Transactional, r.DryRun = true, true
	for range 2 {
		want := "Processes patched: 1, Skipped: 0, Failed: 0."
		if r.DryRun {
			want = "Dry run, processes that would be patched: 1, skipped: 0, failed: 0."
		}
		if got := lines(t, r); got != want {
			t.Errorf("the output is %q", got)
		}
		if r.DryRun {
			c.says(without)
			if got := content(t, filepath.Join(root, "var")); got != "" {
				t.Errorf("a dry run created %q", got)
			}
		}
		r.DryRun = false
	}
	c.says(tens10)
	shared := filepath.Join(root, sharedDir)
	if got := content(t, shared); got != "target-livepatches/1/lp/libtarget_1.0-1_livepatch1.so "+
		"target-livepatches/next" {
		t.Errorf("/var/livepatches has %q", got)
	}
	put(t, root, map[string]string{sharedDir + "/target-livepatches/1/lp/theirs.txt": "x",
		sharedDir + "/target-livepatches/2/lp/old_livepatch9.so": "x"})
	r.Version = "2"
	if got := lines(t, r); got != "Processes patched: 1, Skipped: 0, Failed: 0." {
		t.Errorf("the output is %q", got)
	}
	c.says(tens20)
	if got := content(t, shared); got != "target-livepatches/1/lp/theirs.txt "+
		"target-livepatches/2/lp/libtarget_1.0-1_livepatch1.so target-livepatches/next" {
		t.Errorf("/var/livepatches has %q", got)
	}
	r.Action, r.Count = Remove, 0
	if got := lines(t, r); got != "1 process keeps live patches of target-livepatches; to revert "+
		"them: lpbuild revert --all libtarget.so" {
		t.Errorf("the output is %q", got)
	}
	c.says(tens20)
	if got := content(t, shared); got != "target-livepatches/1/lp/theirs.txt" {
		t.Errorf("/var/livepatches has %q", got)
	}
}

// TestSharedOfOthers writes nothing to a place that somebody else has prepared.
func TestSharedOfOthers(t *testing.T) {
	for name, prepare := range map[string]func(shared, elsewhere string) error{
		"a link": func(shared, elsewhere string) error { return os.Symlink(elsewhere, shared) },
		"world-writable": func(shared, _ string) error {
			if err := os.Mkdir(shared, 0o755); err != nil {
				return err
			}
			return os.Chmod(shared, 0o777)
		},
		"a link below": func(shared, elsewhere string) error {
			if err := os.Mkdir(shared, 0o755); err != nil {
				return err
			}
			return os.Symlink(elsewhere, filepath.Join(shared, "target-livepatches"))
		},
	} {
		c := start(t)
		root := tree(t, map[string]string{at("1"): live(t, 10), "var/": "", "elsewhere/": ""})
		check(t, prepare(filepath.Join(root, sharedDir), filepath.Join(root, "elsewhere")))
		r := c.request(root, Install, "1")
		r.Transactional = true
		if got := lines(t, r); !strings.HasPrefix(got, "Live patches are not applied here: ") {
			t.Errorf("%s: the output is %q", name, got)
		}
		c.says(without)
		if got := content(t, filepath.Join(root, "elsewhere")); got != "" {
			t.Errorf("%s: it created %q", name, got)
		}
	}
}
