package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// placed writes a live patch into a file that processes can map.
func placed(t testing.TB, p *Patch) *Patch {
	t.Helper()
	path := file(t, p)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	p.File = NewFile(path, info)
	return p
}

// mapsOf returns /proc/PID/maps.
func mapsOf(t testing.TB, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestMappedFile: a live patch whose own file is mapped works as one in anonymous memory, shows
// under its name, is no library to anybody, and goes without a trace.
func TestMappedFile(t *testing.T) {
	targettest.NeedMappedFiles(t)
	lib := library(t, nopFlags)
	p := placed(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	top := placed(t, answer(t, lib, 2, both))
	for _, o := range []Options{{}, {oneByOne: true}, {twoStops: true}} {
		o.load = "file"
		c := start(t, target(t, lib), 2)
		before := c.snapshot()
		libs := len(opened(t, c.pid).libs)
		for range 3 {
			c.apply(o, p)
			c.says("all", patched)
			if !strings.Contains(mapsOf(t, c.pid), p.File.Path) {
				t.Errorf("it is not in\n%s", mapsOf(t, c.pid))
			}
			c.ownPages(p.File.Path)
			if now := len(opened(t, c.pid).libs); now != libs {
				t.Errorf("%d libraries, not %d", now, libs)
			}
			c.apply(o, top)
			c.says("all", patched)
			c.change(Change{Revert: func(a AppliedPatch) bool { return a.ID == p.Meta.PatchID }}, o)
			c.says("all", "2 2 5 7 original")
			c.right()
			c.cleared(before)
			c.says("all", original)
		}
	}
}

// ownPages fails the test unless each page of what is mapped of a file is the process's own.
func (c *child) ownPages(path string) {
	c.t.Helper()
	pages, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	defer pages.Close()
	n := 0
	for line := range strings.Lines(mapsOf(c.t, c.pid)) {
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil ||
			!strings.Contains(line, path) {
			continue
		}
		for ; from < to; from += pageSize {
			const present, ofFile = 1 << 63, 1 << 61
			var b [8]byte
			if _, err := pages.ReadAt(b[:], int64(from/pageSize*8)); err != nil {
				c.t.Fatal(err)
			}
			if v := le.Uint64(b[:]); v&(present|ofFile) != present {
				c.t.Errorf("the page at %#x is the file's: %#x", from, v)
			}
			n++
		}
	}
	if n == 0 {
		c.t.Errorf("nothing is mapped of %s", path)
	}
}

// TestMappedFileGoes: once it is loaded, the file may be overwritten, renamed over or deleted.
func TestMappedFileGoes(t *testing.T) {
	targettest.NeedMappedFiles(t)
	lib := library(t, nopFlags)
	for name, f := range map[string]func(path string) error{
		"overwritten": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write(make([]byte, info.Size()))
			return errors.Join(err, f.Close())
		},
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("new"), 0o600),
				os.Rename(path+".new", path))
		},
		"deleted": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			p := placed(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
			c := start(t, target(t, lib), 2)
			before := c.snapshot()
			c.apply(Options{load: "file"}, p)
			if err := f(p.File.Path); err != nil {
				t.Fatal(err)
			}
			c.says("all", patched)
			c.right()
			if got := c.active(); got != "1:8" {
				t.Errorf("listed: %s", got)
			}
			c.cleared(before)
			c.says("all", original)
		})
	}
}

// TestMappedFileUnseen: a process that does not find the file, or finds another one in its place,
// or one that others may write to, is as it was.
func TestMappedFileUnseen(t *testing.T) {
	targettest.NeedNamespaces(t, unix.CLONE_NEWNS)
	lib := library(t, nopFlags)
	p := placed(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	dir := filepath.Dir(p.File.Path)
	image, err := os.ReadFile(p.File.Path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy.so")
	if err := os.WriteFile(copied, image, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ setup, want string }{
		"not there":    {"mount -t tmpfs none " + dir, "does not see"},
		"another file": {"mount --bind " + copied + " " + p.File.Path, "sees another file"},
		"a FIFO":       {"mount --bind " + pipe + " " + p.File.Path, "sees another file"},
		"a link": {"mount -t tmpfs none " + dir + " && ln -s " + copied + " " + p.File.Path,
			"sees another file"},
		"writable": {"chmod 666 " + p.File.Path, "others may write"},
	} {
		t.Run(name, func(t *testing.T) {
			by := []string{"unshare", "-m", "--propagation", "private", "sh", "-c",
				tc.setup + ` && exec "$@"`, "sh"}
			c := startBy(t, by, target(t, lib), 0)
			defer func() { _ = os.Chmod(p.File.Path, 0o600) }()
			before := c.snapshot()
			_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
				Options{load: "file"})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
			if d := cmp.Diff(before, c.snapshot()); d != "" {
				t.Errorf("it is not as before: %s", d)
			}
			c.apply(Options{}, p) // in anonymous memory
			c.says("all", patched)
		})
	}
}

// TestMappedFileSwapped: the file is another one, or shorter, at the moment that the process opens
// it, or that it is filled. The process is as it was.
func TestMappedFileSwapped(t *testing.T) {
	targettest.NeedMappedFiles(t)
	lib := library(t, nopFlags)
	for name, tc := range map[string]struct {
		at string
		do func(path string) error
	}{
		"another":   {"load", func(path string) error { return os.Rename(path+".2", path) }},
		"truncated": {"fill", func(path string) error { return os.Truncate(path, 0) }},
		"shorter":   {"load", func(path string) error { return os.Truncate(path, 8192) }},
	} {
		for _, oneByOne := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, oneByOne), func(t *testing.T) {
				p := placed(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
				image, err := os.ReadFile(p.File.Path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(p.File.Path+".2", image, 0o600); err != nil {
					t.Fatal(err)
				}
				c := start(t, target(t, lib), 2)
				before := c.snapshot()
				done := false
				o := Options{load: "file", oneByOne: oneByOne, step: func(name string) {
					if name == tc.at && !done {
						done = true
						if err := tc.do(p.File.Path); err != nil {
							t.Error(err)
						}
					}
				}}
				_, err = do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, o)
				if !errors.Is(err, ErrRefused) || !done {
					t.Errorf("%v", err)
				}
				c.says("all", original)
				c.right()
				if d := cmp.Diff(before, c.snapshot()); d != "" {
					t.Errorf("it is not as before: %s", d)
				}
			})
		}
	}
}

// TestExecmem: a process that gets EACCES for anonymous memory and memory files that can be
// executed, as from SELinux, has the container's file mapped.
func TestExecmem(t *testing.T) {
	targettest.NeedFilters(t)
	targettest.NeedMappedFiles(t)
	lib := library(t, nopFlags)
	p := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c")
	for _, more := range []string{"", "busy"} {
		c := limited(t, lib, strings.Fields("execmem "+more)...)
		c.says("", "1")
		before := c.snapshot()
		p.File = nil
		c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrSeccomp)
		c.says("", "1")
		placed(t, p)
		c.apply(Options{}, p)
		c.says("", "2")
		if !strings.Contains(mapsOf(t, c.pid), p.File.Path) {
			t.Errorf("it is not in\n%s", mapsOf(t, c.pid))
		}
		c.cleared(before)
		c.says("", "1")
	}
}

// TestOwnMappings: what a program has mapped of a container itself is never taken for ours.
func TestOwnMappings(t *testing.T) {
	lib := library(t, nopFlags)
	p := placed(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	program := gcc(t, "mapper", "testdata/mapper.c")
	c := &child{Process: targettest.Start(t, exec.Command(program, p.File.Path)), t: t}
	if _, err := fmt.Sscan(c.Line(), &c.pid); err != nil {
		t.Fatal(err)
	}
	before := c.snapshot()
	v := opened(t, c.pid)
	st, err := v.readState(t.Context())
	if err != nil || len(st.unfinished)+len(st.tables)+len(st.records) != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	_, _ = do(context.Background(), look(t, c.pid), Change{}, Options{})
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("it is not as before: %s", d)
	}
}
