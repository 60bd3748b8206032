package spec

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/download"
)

const someConfig = `name: lp
version: "1.0"
product: SLE-15-SP5
arch: [x86_64, ppc64le]
license: LGPL-2.1-or-later
repositories:
  - {url: /srv/repo, unsigned: true}
packages:
  - name: glibc
patches:
  - {library: libc.so.6, description: lp.in, sources: [lp.c]}
`

// newPackage returns the configuration of a package directory with a changes file and, for two
// architectures, a lock of one build and the report of its build.
func newPackage(t *testing.T) (*config.Config, *download.Lock, *buildmatrix.Report) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lp")
	put(t, dir, map[string]string{
		"lpbuild.yaml": someConfig, "lpbuild.lock": "{}\n",
		"lp.in": "! CVE-2026-1\nlibc_{version}-{release}_livepatch1.so\n@{library}\nf:g\n",
		"lp.c":  "int g;\n", "only_ppc.h": "\n", "lp.changes": someChanges,
	})
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := &download.Lock{}
	r := &buildmatrix.Report{Name: "lp", Version: "1.0", Inputs: []string{"lp.c", "only_ppc.h"}}
	for _, arch := range []string{"x86_64", "ppc64le"} {
		l.Builds = append(l.Builds, download.Build{Name: "glibc", Version: "2.31", Release: "1",
			Arch:      arch,
			Libraries: []download.Library{{Name: "libc.so.6", BuildID: "aa" + arch}}})
		r.Cells = append(r.Cells, buildmatrix.CellInfo{Status: buildmatrix.Built, Patch: "lp.in",
			Package: "glibc", Version: "2.31",
			Release: "1", Arch: arch, Target: "aa" + arch, Container: "libc_2.31-1_livepatch1.so"})
	}
	return c, l, r
}

// TestCheckComplete rejects a report that lacks an architecture, a build or a rebuild, and names
// it.
func TestCheckComplete(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*download.Lock, *buildmatrix.Report)
		want   string
	}{
		"everything is there": {func(*download.Lock, *buildmatrix.Report) {}, ""},
		"only one architecture": {func(_ *download.Lock, r *buildmatrix.Report) {
			r.Cells = r.Cells[:1]
		}, "ppc64le: 1 containers are missing, the first is of lp.in for glibc-2.31-1.ppc64le"},
		"the other one failed": {func(_ *download.Lock, r *buildmatrix.Report) {
			r.Cells[1].Status = buildmatrix.Failed
		}, "lpbuild build --arch ppc64le"},
		"a build was added later": {func(l *download.Lock, _ *buildmatrix.Report) {
			b := l.Builds[0]
			b.Release = "2"
			l.Builds = append(l.Builds, b)
		}, "glibc-2.31-2.x86_64"},
		"the build was made again": {func(l *download.Lock, _ *buildmatrix.Report) {
			l.Builds[1].Libraries[0].BuildID = "bb"
		}, "glibc-2.31-1.ppc64le"},
		"another patch": {func(_ *download.Lock, r *buildmatrix.Report) {
			for i := range r.Cells {
				r.Cells[i].Patch = "other.in"
			}
		}, "x86_64: 1 containers"},
	} {
		c, l, r := newPackage(t)
		tc.change(l, r)
		err := checkComplete(c, l, r)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestMakeSameBytes makes a source package in two directories, under another umask, with other
// modes and times of the files, in another locale and time zone: the bytes are the same. It has the
// header that only one architecture includes.
func TestMakeSameBytes(t *testing.T) {
	var made []map[string]string
	for i := range 2 {
		c, l, r := newPackage(t)
		l.Builds = nil // the catalogue's content does not matter here
		if i == 1 {
			t.Setenv("TZ", "Asia/Kathmandu")
			t.Setenv("LC_ALL", "de_DE.UTF-8")
			t.Setenv("SOURCE_DATE_EPOCH", "1")
			for _, name := range []string{"lp.c", "lp.in", "lpbuild.lock"} {
				if err := os.Chmod(c.File(name), 0o700); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := Make(t.Context(), c, l, r); err != nil {
			t.Fatal(err)
		}
		made = append(made, content(t, filepath.Join(c.Dir, distDir)))
	}
	if d := cmp.Diff(made[0], made[1]); d != "" {
		t.Errorf("the second differs from the first:\n%s", d)
	}
	if len(made[0]) != 4 {
		t.Errorf("dist has %d files", len(made[0]))
	}
	list := exec.Command("tar", "-tJf", "-")
	list.Stdin = bytes.NewReader([]byte(made[0]["lp-1.0.tar.xz"]))
	if out, err := list.Output(); err != nil ||
		!strings.Contains(string(out), "lp-1.0/only_ppc.h\n") ||
		strings.Contains(string(out), ".changes") {
		t.Errorf("the archive has %s, %v", out, err)
	}
}

// TestMakeNewVersion removes the archive of the former version, and no other file.
func TestMakeNewVersion(t *testing.T) {
	c, l, r := newPackage(t)
	l.Builds = nil
	put(t, c.Dir, map[string]string{"dist/lp-0.9.tar.xz": "former",
		"dist/lp-extra-0.9.tar.xz": "another's", "dist/fix.patch": "mine"})
	if _, err := Make(t.Context(), c, l, r); err != nil {
		t.Fatal(err)
	}
	got := content(t, filepath.Join(c.Dir, distDir))
	if got["lp-0.9.tar.xz"] != "" || got["lp-1.0.tar.xz"] == "" ||
		got["lp-extra-0.9.tar.xz"] != "another's" || got["fix.patch"] != "mine" {
		t.Errorf("dist has %d files: %q", len(got), got["lp-0.9.tar.xz"])
	}
}

// TestMakeFails leaves a former source package untouched, whatever fails.
func TestMakeFails(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*config.Config, *download.Lock, *buildmatrix.Report) error
		want   string
	}{
		"no changes file": {func(c *config.Config, _ *download.Lock, _ *buildmatrix.Report) error {
			return os.Remove(c.File("lp.changes"))
		}, "lpbuild changes add"},
		"a header that is gone": {
			func(c *config.Config, _ *download.Lock, _ *buildmatrix.Report) error {
				return os.Remove(c.File("only_ppc.h"))
			}, "only_ppc.h"},
		"a token in a URL": {func(c *config.Config, _ *download.Lock, _ *buildmatrix.Report) error {
			c.Repositories[0].URL = "https://example.com/update?s3cret-s3cret-s3cret"
			return nil
		}, "token"},
		"one architecture": {func(_ *config.Config, l *download.Lock, r *buildmatrix.Report) error {
			_, full, _ := newPackage(t)
			l.Builds, r.Cells = full.Builds, r.Cells[:1]
			return nil
		}, "lpbuild build --arch ppc64le"},
		"a library that is not a word": {
			func(c *config.Config, _ *download.Lock, _ *buildmatrix.Report) error {
				c.Patches[0].Library = "libc.so.6; id"
				return nil
			}, "not a plain name"},
		"a directory in the way": {
			func(c *config.Config, _ *download.Lock, _ *buildmatrix.Report) error {
				return os.Mkdir(c.File("dist/lp-rpmlintrc"), 0o755)
			}, "in the way"},
	} {
		c, l, r := newPackage(t)
		l.Builds = nil
		put(t, c.Dir, map[string]string{"dist/lp.spec": "former", "dist/lp-0.9.tar.xz": "former"})
		if err := tc.change(c, l, r); err != nil {
			t.Fatal(err)
		}
		before := content(t, filepath.Join(c.Dir, distDir))
		if _, err := Make(t.Context(), c, l, r); err == nil ||
			!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error is %v, want %q", name, err, tc.want)
		}
		if d := cmp.Diff(before, content(t, filepath.Join(c.Dir, distDir))); d != "" {
			t.Errorf("%s: dist (-want +got):\n%s", name, d)
		}
	}
}
