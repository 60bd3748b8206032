package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// content returns the content of a directory: name → text, directories with a slash.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		switch {
		case d.IsDir():
			all[rel+"/"] = ""
		case d.Type()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(name)
			all[rel] = "-> " + to
		default:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			all[rel] = string(data)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

func put(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var newSet = []published{{"lp-2.tar.xz", []byte("new archive")},
	{"lp.changes", []byte("new changes")}, {"lp.spec", []byte("new spec: lp-2.tar.xz")}}

func formerSet() map[string]string {
	return map[string]string{"lp-1.tar.xz": "old archive", "lp.changes": "old changes",
		"lp.spec": "old spec: lp-1.tar.xz", "mine.patch": "mine", ".osc/_apiurl": "x"}
}

func TestPublish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dist")
	for range 2 { // into a new directory, and over itself
		if err := (&publication{dir: dir, files: newSet}).publish(); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"lp-2.tar.xz": "new archive", "lp.changes": "new changes",
			"lp.spec": "new spec: lp-2.tar.xz"}
		if d := cmp.Diff(want, content(t, dir)); d != "" {
			t.Errorf("dist (-want +got):\n%s", d)
		}
	}
}

// TestPublishKilled looks at the directory as each rename would leave it if the machine stopped
// there: the spec file never names a missing archive, and no file is incomplete.
func TestPublishKilled(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, formerSet())
	steps := 0
	look := func(from, to string) error {
		seen := content(t, dir)
		_, archive, _ := strings.Cut(seen["lp.spec"], ": ")
		if seen[archive] == "" {
			t.Errorf("before %s: the spec file is for %s, which is missing", filepath.Base(to),
				archive)
		}
		steps++
		return os.Rename(from, to)
	}
	if err := (&publication{dir: dir, files: newSet, rename: look}).publish(); err != nil ||
		steps != len(newSet) {
		t.Fatal(steps, err)
	}
}

// TestPublishFails fails at every step: the directory is as it was, whether it had a former set or
// did not exist.
func TestPublishFails(t *testing.T) {
	for _, former := range []map[string]string{nil, formerSet(), {"lp.spec": "alone"}} {
		for at := range newSet {
			dir := filepath.Join(t.TempDir(), "dist")
			put(t, dir, former)
			before, broken, n := content(t, dir), errors.New("input/output error"), 0
			_, missing := os.Stat(dir)
			p := publication{dir: dir, files: newSet, rename: func(from, to string) error {
				if n++; n > at {
					return broken
				}
				return os.Rename(from, to)
			}}
			if err := p.publish(); !errors.Is(err, broken) {
				t.Errorf("step %d: error is %v", at, err)
			}
			if d := cmp.Diff(before, content(t, dir)); d != "" {
				t.Errorf("step %d (-want +got):\n%s", at, d)
			}
			if _, err := os.Stat(dir); (err == nil) != (missing == nil) {
				t.Errorf("step %d: a directory was left behind: %v", at, err)
			}
		}
	}
}

// TestPublishInTheWay writes nothing if a place is taken by something other than a file.
func TestPublishInTheWay(t *testing.T) {
	for _, f := range newSet {
		dir := t.TempDir()
		put(t, dir, map[string]string{f.name + "/x": "somebody's", "other": "y"})
		before := content(t, dir)
		if err := (&publication{dir: dir, files: newSet}).publish(); err == nil ||
			!strings.Contains(err.Error(), f.name+" is in the way") {
			t.Errorf("%s: %v", f.name, err)
		}
		if d := cmp.Diff(before, content(t, dir)); d != "" {
			t.Errorf("%s (-want +got):\n%s", f.name, d)
		}
	}
	file := filepath.Join(t.TempDir(), "dist")
	put(t, filepath.Dir(file), map[string]string{"dist": "a file"})
	if err := (&publication{dir: file, files: newSet}).publish(); err == nil {
		t.Error("a file named dist was accepted")
	}
}

// TestPublishFullDisk has a disk with room for the former set only, which stays.
func TestPublishFullDisk(t *testing.T) {
	disk := t.TempDir()
	err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=128k,mode=0700")
	if errors.Is(err, unix.EPERM) {
		t.Skip("mounting a file system needs root; TestPublishFails fails at each step without one")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	dir := filepath.Join(disk, "dist")
	put(t, dir, formerSet())
	before := content(t, dir)
	big := append(slices.Clone(newSet), published{"lp-rpmlintrc", make([]byte, 1<<20)})
	if err := (&publication{dir: dir, files: big}).publish(); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("error is %v, want ENOSPC", err)
	}
	if d := cmp.Diff(before, content(t, dir)); d != "" {
		t.Errorf("dist (-want +got):\n%s", d)
	}
}

// TestPublishThroughLink follows a link to a directory on another disk, made by the maintainer.
func TestPublishThroughLink(t *testing.T) {
	elsewhere, dir := t.TempDir(), filepath.Join(t.TempDir(), "dist")
	if err := os.Symlink(elsewhere, dir); err != nil {
		t.Fatal(err)
	}
	if err := (&publication{dir: dir, files: newSet}).publish(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, elsewhere); len(got) != len(newSet) {
		t.Errorf("the directory has %v", fmt.Sprint(got))
	}
}
