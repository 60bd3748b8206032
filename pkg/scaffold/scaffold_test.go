package scaffold

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestWrite wants the configuration to be read as what was asked for, whatever characters are in it.
func TestWrite(t *testing.T) {
	key := write(t, filepath.Join(t.TempDir(), "vendor.asc"), "key")
	dir := filepath.Join(t.TempDir(), "my-livepatches")
	names, err := Write(dir, Options{
		Product: "SLE-15-SP5", Arch: []string{"x86_64", "ppc64le"}, Builds: ">= 2.31-150300.9, < 2.38",
		Repositories: []Repository{
			{URL: "https://example.com/update?token=a: b#c", Debuginfo: "'quoted'", KeyFiles: []string{key}},
			{URL: "/srv/repo", KeyFiles: []string{key}}, {URL: "yes"},
		},
		Author: "J <j@x>", Time: time.Unix(1e9, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := buildmatrix.LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []buildmatrix.Repository{
		{URL: "https://example.com/update?token=a: b#c", Debuginfo: "'quoted'", Keys: []string{"keys/vendor.asc"}},
		{URL: "/srv/repo", Keys: []string{"keys/vendor.asc"}}, {URL: "yes", Unsigned: true},
	}
	if d := cmp.Diff(want, c.Repositories); d != "" {
		t.Errorf("repositories (-want +got):\n%s", d)
	}
	if c.Name != "my-livepatches" || c.Product != "SLE-15-SP5" || len(c.Arch) != 2 || c.Packages[0].Builds.String() != ">= 2.31-150300.9, < 2.38" {
		t.Errorf("configuration is %+v", c)
	}
	entries, err := spec.ReadChanges(filepath.Join(dir, "my-livepatches.changes"))
	if err != nil || len(entries) != 1 || entries[0].Author != "J <j@x>" {
		t.Errorf("changes: %v, %v", entries, err)
	}
	for _, name := range []string{"README.md", "libc_livepatch1.in", "libc_livepatch1.c", "test.c", "keys/vendor.asc", ".gitignore"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s was not written", name)
		}
	}
}

// TestWriteOverwritesNothing finds one of its files there: then nothing is written.
func TestWriteOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "test.c"), "mine")
	_, err := Write(dir, Options{Repositories: []Repository{{URL: "/x"}}})
	if !errors.Is(err, ErrExists) {
		t.Errorf("error is %v, want ErrExists", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the folder has %v", entries)
	}
}

func TestWriteRefuses(t *testing.T) {
	one, two := write(t, filepath.Join(t.TempDir(), "k.asc"), "1"), write(t, filepath.Join(t.TempDir(), "k.asc"), "2")
	for name, repositories := range map[string][]Repository{
		"no repository":           nil,
		"missing key":             {{URL: "/x", KeyFiles: []string{"/no/such/key"}}},
		"two keys of one name":    {{URL: "/x", KeyFiles: []string{one, two}}},
		"URL of more than a line": {{URL: "/x\ny", KeyFiles: []string{one}}},
	} {
		dir := filepath.Join(t.TempDir(), "lp")
		if _, err := Write(dir, Options{Repositories: repositories}); err == nil {
			t.Errorf("%s was accepted", name)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: something was written", name)
		}
	}
}

// TestMachineRepositories takes zypper's enabled repositories, their debuginfo, and the keys that RPM came with.
func TestMachineRepositories(t *testing.T) {
	root := t.TempDir()
	repos := filepath.Join(root, "etc/zypp/repos.d")
	for name, enabled := range map[string]string{"SLE-Update": "1", "SLE-Update-Debuginfo": "0", "Old": "0"} {
		write(t, filepath.Join(repos, name+".repo"), "["+name+"]\nname="+name+"\nenabled="+enabled+"\nbaseurl=http://localhost/"+name+"\n")
	}
	if got := MachineRepositories(root); got != nil {
		t.Errorf("without any key: %v", got)
	}
	key := write(t, filepath.Join(root, "usr/lib/rpm/gnupg/keys/suse.asc"), "key")
	want := []Repository{{URL: filepath.Join(repos, "SLE-Update.repo"), Debuginfo: filepath.Join(repos, "SLE-Update-Debuginfo.repo"), KeyFiles: []string{key}}}
	if d := cmp.Diff(want, MachineRepositories(root)); d != "" {
		t.Errorf("repositories (-want +got):\n%s", d)
	}
}
