package hook

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLife follows a package through its life: install, again, upgrade, downgrade, erase without
// and with reverting.
func TestLife(t *testing.T) {
	c := start(t)
	root := tree(t, map[string]string{at("1"): live(t, 10), at("2"): live(t, 20)})
	is := func(r Request, want, says string) {
		t.Helper()
		if got := lines(t, r); got != want {
			t.Errorf("%s %s prints %q, want %q", r.Action, r.Version, got, want)
		}
		c.says(says)
	}
	dry := c.request(root, Install, "1")
	dry.DryRun = true
	is(dry, "Dry run, processes that would be patched: 1, skipped: 0, failed: 0.", without)
	is(c.request(root, Install, "1"), "Processes patched: 1, Skipped: 0, Failed: 0.", tens10)
	is(c.request(root, Install, "1"), "Processes patched: 0, Skipped: 0, Failed: 0. In 1: "+
		"already applied.", tens10)
	is(c.request(root, Install, "2"), "Processes patched: 1, Skipped: 0, Failed: 0.", tens20)
	is(c.request(root, Install, "1"), "Processes patched: 1, Skipped: 0, Failed: 0.", tens10)
	erase := c.request(root, Remove, "1")
	put(t, root, map[string]string{sysconfigFile: "LIVEPATCH_REVERT_ON_REMOVE=yes\n"})
	is(erase, "", tens10) // an upgrade
	erase.Count = 0
	put(t, root, map[string]string{sysconfigFile: "LIVEPATCH_REVERT_ON_REMOVE=no\n"})
	is(erase, "1 process keeps live patches of target-livepatches; to revert them: lpbuild "+
		"revert --all libtarget.so", tens10)
	erase.Version = "2" // which is applied nowhere
	is(erase, "", tens10)
	erase.Version = "1"
	put(t, root, map[string]string{sysconfigFile: "LIVEPATCH_REVERT_ON_REMOVE=yes\n"})
	erase.Version = "2"
	is(erase, "Processes reverted: 0, Skipped: 0, Failed: 0. In 1: not applied anyway.", tens10)
	erase.Version = "1"
	is(erase, "Processes reverted: 1, Skipped: 0, Failed: 0.", without)
}

// TestReconcile applies the newest installed version, and nothing that the administrator does not
// want.
func TestReconcile(t *testing.T) {
	c := start(t)
	root := tree(t, map[string]string{at("9"): live(t, 10), at("10"): live(t, 20),
		sysconfigFile: "LIVEPATCH_TARGET=never"})
	r := c.request(root, Reconcile, "")
	r.Package = ""
	if got := lines(t, r); got != "" {
		t.Errorf("the output is %q", got)
	}
	c.says(without)
	check(t, os.Remove(filepath.Join(root, sysconfigFile)))
	if got := lines(t, r); got != "Processes patched: 1, Skipped: 0, Failed: 0." {
		t.Errorf("the output is %q", got)
	}
	c.says(tens20)
}

// TestTwoPackages keeps the live patch of another package for the same library.
func TestTwoPackages(t *testing.T) {
	c := start(t)
	other := strings.ReplaceAll(at("1"), "target-livepatches", "other-livepatches")
	root := tree(t, map[string]string{other: live(t, 20), at("1"): live(t, 10)})
	r := c.request(root, Install, "1")
	o, err := Run(t.Context(), r)
	check(t, err)
	if len(o.Log) != 2 || !strings.Contains(o.Log[0], "other-livepatches") ||
		!strings.Contains(o.Log[1], "target-livepatches") {
		t.Errorf("the log has %q", o.Log)
	}
	c.says(tens10)

	// An error in another package's directory is no reason to leave out this one's live patches.
	check(t, os.Chmod(filepath.Join(root, filepath.Dir(other)), 0o777))
	put(t, root, map[string]string{at("2"): live(t, 20)})
	got := lines(t, c.request(root, Install, "2"))
	if !strings.HasPrefix(got, "Processes patched: 1, ") ||
		!strings.Contains(got, "the live patches of other-livepatches are ignored: ") {
		t.Errorf("the output is %q", got)
	}
	c.says(tens20)
}

// TestForeignFiles has all kinds of files in the directory of the live patches: none is followed,
// waited for or used as a live patch, and the good one is applied.
func TestForeignFiles(t *testing.T) {
	c := start(t)
	good := live(t, 10)
	dir := "usr/lib64/target-livepatches/1/"
	root := tree(t, map[string]string{
		at("1"): good, dir + "README": "text", dir + "libother.so": live(t, 20), dir +
			"directory_livepatch1.so/": "", dir + "empty_livepatch1.so": "",
		dir + "half_livepatch1.so": good[:len(good)/2], dir +
			"text_livepatch1.so": "#!/bin/sh\ntouch /owned\n",
		dir + "writable_livepatch1.so": live(t, 20), "elsewhere/link_livepatch1.so": live(t, 20),
	})
	check(t, os.Chmod(filepath.Join(root, dir, "writable_livepatch1.so"), 0o777))
	check(t, os.Symlink(filepath.Join(root, "elsewhere/link_livepatch1.so"),
		filepath.Join(root, dir, "link_livepatch1.so")))
	check(t, unix.Mkfifo(filepath.Join(root, dir, "fifo_livepatch1.so"), 0o644))
	got := lines(t, c.request(root, Install, "1"))
	for _, want := range []string{
		"Processes patched: 1, Skipped: 0, Failed: 0.\n",
		"directory_livepatch1.so: not a regular file", "fifo_livepatch1.so: not a regular file",
		"link_livepatch1.so: a symbolic link is not followed",
		"writable_livepatch1.so: users other than root can write to it",
		"empty_livepatch1.so: ", "half_livepatch1.so: ", "text_livepatch1.so: ",
	} {
		if !strings.Contains(got+"\n", want) {
			t.Errorf("the output is %q, without %q", got, want)
		}
	}
	if n := strings.Count(got, "not a live patch: "); n != 7 {
		t.Errorf("%d files are not live patches:\n%s", n, got)
	}
	c.says(tens10)
}

// TestDirOfOthers rejects a directory that somebody else could have filled.
func TestDirOfOthers(t *testing.T) {
	says := map[string]string{
		"world-writable": "users other than root can write to it",
		"a link":         "a symbolic link is not followed",
		"another user's": "users other than root can write to it", "a file": "not a directory",
	}
	for name, change := range map[string]func(t *testing.T, root string){
		"world-writable": func(t *testing.T, root string) {
			check(t, os.Chmod(filepath.Join(root, filepath.Dir(at("1"))), 0o777))
		},
		"a link": func(t *testing.T, root string) {
			check(t, os.Rename(filepath.Join(root, "usr/lib64/target-livepatches"),
				filepath.Join(root, "moved")))
			check(t, os.Symlink(filepath.Join(root, "moved"),
				filepath.Join(root, "usr/lib64/target-livepatches")))
		},
		"another user's": func(t *testing.T, root string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root to change the owner of a directory")
			}
			check(t, os.Chown(filepath.Join(root, filepath.Dir(at("1"))), 1234, 1234))
		},
		"a file": func(t *testing.T, root string) {
			check(t, os.RemoveAll(filepath.Join(root, filepath.Dir(at("1")))))
			put(t, root, map[string]string{filepath.Dir(at("1")): ""})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			root := tree(t, map[string]string{at("1"): live(t, 10)})
			change(t, root)
			if got := lines(t, c.request(root, Install, "1")); !strings.HasPrefix(got,
				"Live patches are not applied here: ") || !strings.Contains(got, says[name]) {
				t.Errorf("the output is %q, without %q", got, says[name])
			}
			if got := lines(t, c.request(root, Reconcile, "")); strings.Contains(got,
				"patched: 1") {
				t.Errorf("the timer's command prints %q", got)
			}
			c.says(without)
		})
	}
}

// TestNames rejects invalid names: no part of them becomes a path or a command.
func TestNames(t *testing.T) {
	root := tree(t, map[string]string{"usr/lib64/": "", "var/livepatches/": ""})
	before := content(t, root)
	for _, name := range []string{"", ".", "..", "../a", "a/b", "a b", "a;touch owned",
		"$(touch owned)", "`touch owned`", "a\nb", "a|b", "a&", "a*", "-rf",
		".hidden", "a\x00b", "a\x1b[31m", "ä", strings.Repeat("a", 201)} {
		for i, r := range []Request{
			{Package: name, Version: "1", Library: "l.so"}, {Package: "p", Version: name,
				Library: "l.so"}, {Package: "p", Version: "1", Library: name},
		} {
			for _, r.Action = range []Action{Install, Remove, MoveLibs, RemoveLibs} {
				if name == "" && i == 2 && (r.Action == Install || r.Action == Remove) {
					continue // they need no library
				}
				r.Root, r.Transactional = root, true
				o, err := Run(t.Context(), r)
				if !errors.Is(err, errName) ||
					strings.ContainsAny(strings.Join(o.Lines(), "\n"), "\x1b\x00") {
					t.Errorf("%s %q: %v, %q", r.Action, name, err, o.Lines())
				}
			}
		}
	}
	if after := content(t, root); after != before {
		t.Errorf("it created %q", after)
	}
	if _, err := Run(t.Context(), Request{Action: "purge", Package: "p",
		Version: "1"}); err == nil {
		t.Error("an unknown action was accepted")
	}
}

// TestPlaces does nothing in a build root and without /proc, and prints nothing.
func TestPlaces(t *testing.T) {
	c := start(t)
	for name, change := range map[string]func(r *Request){
		"build root": func(r *Request) { put(t, r.Root, map[string]string{".buildenv": ""}) },
		"no proc":    func(r *Request) { r.Proc = filepath.Join(r.Root, "proc") },
		"empty proc": func(r *Request) { r.Proc = t.TempDir() },
	} {
		r := c.request(tree(t, map[string]string{at("1"): live(t, 10)}), Install, "1")
		change(&r)
		if got := lines(t, r); got != "" {
			t.Errorf("%s: the output is %q", name, got)
		}
		c.says(without)
	}
}

// TestTemporary needs no directory for temporary files, and does not touch a prepared one.
func TestTemporary(t *testing.T) {
	c := start(t)
	tmp := tree(t, map[string]string{"theirs": "x"})
	for _, name := range []string{"lpbuild", "hook.log", "libtarget_1.0-1_livepatch1.so"} {
		check(t, os.Symlink(filepath.Join(tmp, "theirs"), filepath.Join(tmp, name)))
	}
	before := content(t, tmp)
	for _, dir := range []string{tmp, "/nonexistent"} {
		t.Setenv("TMPDIR", dir)
		r := c.request(tree(t, map[string]string{at("1"): live(t, 10), "var/log/": ""}), Install,
			"1")
		r.Transactional = true
		o, err := Run(t.Context(), r)
		check(t, err)
		check(t, o.WriteLog(r))
		c.says(tens10)
	}
	if data, err := os.ReadFile(filepath.Join(tmp, "theirs")); content(t, tmp) != before ||
		err != nil || string(data) != "x" {
		t.Errorf("the directory has %q; %q, %v", content(t, tmp), data, err)
	}
}

// TestTruncated has a live patch truncated anywhere, as by a full disk or a power failure: it is
// named, and not used.
func TestTruncated(t *testing.T) {
	c := start(t)
	good := live(t, 10)
	step := len(good)/97 + 1
	for n := 0; n < len(good); n += step {
		root := tree(t, map[string]string{at("1"): good[:n]})
		got := lines(t, c.request(root, Install, "1"))
		if !strings.HasPrefix(got, "Live patches are not applied here: no live patches in ") ||
			!strings.Contains(got, "not a live patch: ") {
			t.Errorf("with %[2]d of %[1]d bytes, the output is %[3]q", len(good), n, got)
		}
	}
	c.says(without)
}
