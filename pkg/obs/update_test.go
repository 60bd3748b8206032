package obs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestUpdate updates a checkout, and the service by osc's commit; doing it again changes nothing.
func TestUpdate(t *testing.T) {
	w := newWorld(t, map[string]string{
		"lp.spec": "old spec", "lp-1.tar.xz": "old archive", "lp-0.9.tar.xz": "older",
		"lp.changes": formerEntry, "mine.patch": "mine", "lp-extra-1.tar.xz": "another's",
		"_constraints": mark + "old",
	})
	c := w.checkout()
	w.write(filepath.Join(c.Dir, "notes"), "untracked")
	w.write(filepath.Join(c.Dir, "lp-0.tar.xz"), "untracked, of a former version")
	// made by hand, and unknown to osc
	if err := os.Remove(filepath.Join(c.Dir, "lp-0.9.tar.xz")); err != nil {
		t.Fatal(err)
	}
	got, err := c.Update(t.Context(), w.source(2, 20), Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &Update{
		Added:   []string{"lp-2.tar.xz", "lp-rpmlintrc", "_multibuild"},
		Changed: []string{"lp.changes", "lp.spec"},
		Removed: []string{"_constraints", "lp-0.9.tar.xz", "lp-0.tar.xz", "lp-1.tar.xz"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Update (-want +got):\n%s", d)
	}
	w.osc(c.Dir, "commit", "-m", "update")
	files := map[string]string{
		"lp.spec": "new spec", "lp-2.tar.xz": "new archive", "lp.changes": newEntry + formerEntry,
		"lp-rpmlintrc": "lint",
		"mine.patch":   "mine", "lp-extra-1.tar.xz": "another's",
		"_multibuild": mark + "<multibuild>\n  <flavor>group1of2</flavor>\n  " +
			"<flavor>group2of2</flavor>\n</multibuild>\n",
	}
	if d := cmp.Diff(files, w.service.Files("home:jane", "lp")); d != "" {
		t.Errorf("the service has (-want +got):\n%s", d)
	}
	if got := w.osc(c.Dir, "status"); got != "?    notes\n" {
		t.Errorf("osc status: %q", got)
	}
	again, err := Open(t.Context(), c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Update(t.Context(), w.source(2, 20), Options{}); err != nil ||
		!cmp.Equal(&Update{}, got) {
		t.Errorf("again: %+v, %v", got, err)
	}
}

// TestUpdateTwice updates twice before a commit: added files stay added, and a person's marks are
// respected.
func TestUpdateTwice(t *testing.T) {
	w := newWorld(t, map[string]string{"lp.spec": "old"})
	c := w.checkout()
	for range 2 {
		if _, err := c.Update(t.Context(), w.source(0, 0), Options{}); err != nil {
			t.Fatal(err)
		}
		w.write(w.dist.Spec, "newer")
		var err error
		if c, err = Open(t.Context(), c.Dir); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.osc(c.Dir, "status"); got != "A    lp-2.tar.xz\nA    lp-rpmlintrc\nA    "+
		"lp.changes\nM    lp.spec\n" {
		t.Errorf("osc status: %q", got)
	}
}

// TestUpdateKeeps keeps files that a person wrote under a name that lpbuild also uses.
func TestUpdateKeeps(t *testing.T) {
	w := newWorld(t, map[string]string{"_multibuild": "<multibuild/>",
		"_constraints": "<constraints/>"})
	c := w.checkout()
	got, err := c.Update(t.Context(), w.source(2, 1000), Options{})
	if err != nil || !cmp.Equal([]string{"_multibuild", "_constraints"}, got.Kept) {
		t.Fatal(got, err)
	}
	if got, err = c.Update(t.Context(), w.source(1, 1), Options{}); err != nil ||
		len(got.Removed) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUpdateRefuses fails before anything has changed.
func TestUpdateRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(w *world, dir string)
		is     error
		want   string
	}{
		"an entry from elsewhere": {func(w *world, dir string) {
			w.write(filepath.Join(dir, "lp.changes"), strings.Replace(formerEntry, "One", "Other",
				1))
		}, ErrForeignChanges, "2026-01-01 03:04:05 by J <j@x>"},
		"an invalid changes file": {func(w *world, dir string) {
			w.write(filepath.Join(dir, "lp.changes"), "hello")
		}, nil, "67 dashes"},
		"a directory in the way": {func(w *world, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "lp-rpmlintrc"), 0o755); err != nil {
				w.Fatal(err)
			}
		}, nil, "in the way"},
		"a link in the way": {func(w *world, dir string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "lp-2.tar.xz")); err != nil {
				w.Fatal(err)
			}
		}, nil, "in the way"},
		"no source package": {func(w *world, _ string) { os.Remove(w.dist.Spec) }, os.ErrNotExist,
			"lp.spec"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, map[string]string{"lp.spec": "old spec", "lp-1.tar.xz": "old"})
			c := w.checkout()
			tc.change(w, c.Dir)
			_, err := c.Update(t.Context(), w.source(2, 2), Options{})
			if err == nil || !strings.Contains(err.Error(), tc.want) ||
				tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
			if text, err := os.ReadFile(filepath.Join(c.Dir, "lp.spec")); err != nil ||
				string(text) != "old spec" {
				t.Errorf("lp.spec is %q, %v", text, err)
			}
			if _, err := os.Stat(filepath.Join(c.Dir, "lp-1.tar.xz")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUpdateOtherPackage leaves the checkout of another package as it is.
func TestUpdateOtherPackage(t *testing.T) {
	w := newWorld(t, map[string]string{"other.spec": "theirs", "other.changes": "theirs"})
	c := w.checkout()
	_, err := c.Update(t.Context(), w.source(2, 2), Options{})
	if !errors.Is(err, ErrOtherPackage) || !strings.Contains(err.Error(), "other.spec") {
		t.Errorf("error is %v, want ErrOtherPackage with the file", err)
	}
	if found, _ := filepath.Glob(filepath.Join(c.Dir, "lp*")); len(found) > 0 {
		t.Errorf("written: %q", found)
	}
	if out, err := c.ask(t.Context(), "osc", "rm", "other.spec"); err != nil {
		t.Fatal(out, err)
	}
	if c, err = Open(t.Context(), c.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Update(t.Context(), w.source(2, 2), Options{}); err != nil {
		t.Errorf("after osc rm: %v", err)
	}
}

// TestUpdateWithoutOsc writes the files and lists the remaining commands.
func TestUpdateWithoutOsc(t *testing.T) {
	w := newWorld(t, map[string]string{"lp.spec": "old", "lp-1.tar.xz": "old",
		"lp.changes": formerEntry, "lp-rpmlintrc": "lint"})
	c := w.checkout()
	t.Setenv("PATH", t.TempDir())
	got, err := c.Update(t.Context(), w.source(0, 0), Options{})
	want := []string{"osc rm --force lp-1.tar.xz", "osc add lp-2.tar.xz"}
	if err != nil || !cmp.Equal(want, got.Todo) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUpdateOscFails reports osc's output without secrets.
func TestUpdateOscFails(t *testing.T) {
	w := newWorld(t, map[string]string{"lp.spec": "old"})
	c := w.checkout()
	fake := filepath.Join(w.home, "osc")
	w.write(fake, "#!/bin/sh\necho 'no way: pass = s3cret' >&2\necho "+
		"http://jane:s3cret@127.0.0.1/ >&2\nexit 3\n")
	if err := os.Chmod(fake, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := c.Update(t.Context(), w.source(0, 0), Options{Osc: fake})
	if !errors.Is(err, ErrOsc) || !strings.Contains(err.Error(), "no way") ||
		strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error is %v", err)
	}
}

func TestService(t *testing.T) {
	if multibuild(1) != nil || multibuild(0) != nil {
		t.Error("a single part got a _multibuild")
	}
	for builds, want := range map[int]string{0: "", 64: "", 400: "4224"} {
		if got := string(constraints(builds)); (got == "") != (want == "") ||
			!strings.Contains(got, want) {
			t.Errorf("%d builds: %s", builds, got)
		}
	}
}

func TestOpen(t *testing.T) {
	const files = `<directory name="lp"><entry name="a" md5="x"/></directory>`
	for name, tc := range map[string]struct {
		state map[string]string
		want  string // of the error; "" if there is none
	}{
		"a checkout": {map[string]string{"_project": "home:jane\n", "_package": "lp\n",
			"_files": files, "_to_be_added": "b\n", "_to_be_deleted": "a\n"}, ""},
		"any directory": {nil, "osc checkout PROJECT PACKAGE"},
		"a project": {map[string]string{"_project": "home:jane\n"},
			"neither .osc/_package nor .git"},
		"an option": {map[string]string{"_project": "--help", "_package": "lp",
			"_files": files}, "--help"},
		"a path": {map[string]string{"_project": "home:jane", "_package": "../lp",
			"_files": files}, "../lp"},
		"not a list": {map[string]string{"_project": "home:jane", "_package": "lp",
			"_files": "<html>"}, ".osc/_files"},
		"a path in a list": {map[string]string{"_project": "home:jane", "_package": "lp",
			"_files": strings.Replace(files, `"a"`, `"../a"`, 1)}, "not a file name"},
		"an invalid list": {map[string]string{"_project": "home:jane", "_package": "lp"},
			"not a checkout"},
	} {
		dir := t.TempDir()
		for file, text := range tc.state {
			(&world{T: t}).write(func() string {
				_ = os.Mkdir(filepath.Join(dir, ".osc"), 0o755)
				return filepath.Join(dir, ".osc", file)
			}(), text)
		}
		c, err := Open(t.Context(), dir)
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error is %v, want %q", name, err, tc.want)
			}
			continue
		}
		want := &Checkout{Dir: dir, Project: "home:jane", Package: "lp",
			tracked: map[string]bool{"a": false, "b": true}}
		if d := cmp.Diff(want, c, cmp.AllowUnexported(Checkout{}),
			cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
	}
}

// FuzzParseFiles expects names that are not paths or options, or an error.
func FuzzParseFiles(f *testing.F) {
	f.Add([]byte(`<directory name="lp" rev="1"><entry name="lp.spec" md5="0" ` +
		`size="1"/><linkinfo/></directory>`))
	f.Add([]byte(`<directory><entry name="-x"/></directory>`))
	f.Add([]byte(`<directory><entry name="../x"/></directory>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		names, err := parseFiles(text)
		if err != nil && names != nil {
			t.Error("got both an error and names")
		}
		for _, name := range names {
			if name == "" || strings.ContainsAny(name, "/\n\x00 ") || name[0] == '-' ||
				name == ".." {
				t.Errorf("%q was accepted as a name", name)
			}
		}
	})
}
