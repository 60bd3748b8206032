package scaffold

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/pgptest"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
	"github.com/lpbuild/lpbuild/pkg/spec"
)

func TestMain(m *testing.M) { os.Exit(pgptest.Main(m)) }

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

// TestWrite checks that the configuration is read as requested, whatever characters it has.
func TestWrite(t *testing.T) {
	key, here := publicKey(t, "vendor.asc"), t.TempDir()
	t.Chdir(here)
	dir := filepath.Join(t.TempDir(), "my-livepatches")
	names, err := Write(dir, Options{
		Product: "SLE-15-SP5", Arch: []string{"x86_64", "ppc64le"},
		Builds: ">= 2.31-150300.9, < 2.38",
		Repositories: []Repository{
			{URL: "https://example.com/update/a: b", Debuginfo: "'quoted'",
				KeyFiles: []string{key}},
			{URL: "/srv/repo", Debuginfo: "file:///srv/debug", KeyFiles: []string{key}},
			{URL: "../yes"},
		},
		Author: "J <j@x>", Time: time.Unix(1e9, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Repository{
		{URL: "https://example.com/update/a: b", Debuginfo: filepath.Join(here, "'quoted'"),
			Keys: []string{"keys/vendor.asc"}},
		{URL: "/srv/repo", Debuginfo: "file:///srv/debug", Keys: []string{"keys/vendor.asc"}},
		{URL: filepath.Join(filepath.Dir(here), "yes"), Unsigned: true},
	}
	if d := cmp.Diff(want, c.Repositories); d != "" {
		t.Errorf("repositories (-want +got):\n%s", d)
	}
	if c.Name != "my-livepatches" || c.Product != "SLE-15-SP5" || len(c.Arch) != 2 ||
		c.Packages[0].Builds.String() != ">= 2.31-150300.9, < 2.38" {
		t.Errorf("the configuration is %+v", c)
	}
	entries, err := spec.ReadChanges(filepath.Join(dir, "my-livepatches.changes"))
	if err != nil || len(entries) != 1 || entries[0].Author != "J <j@x>" {
		t.Errorf("changes: %v, %v", entries, err)
	}
	for _, name := range []string{"README.md", "libc_livepatch1.in", "libc_livepatch1.c", "test.c",
		"keys/vendor.asc", ".gitignore"} {
		if !slices.Contains(names, name) {
			t.Errorf("%s was not written", name)
		}
	}
}

// TestWriteOverwritesNothing finds one of the files in the directory: then nothing is written.
func TestWriteOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "test.c"), "mine")
	_, err := Write(dir, Options{Repositories: []Repository{{URL: "/x"}}})
	if !errors.Is(err, ErrExists) {
		t.Errorf("error is %v, want ErrExists", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the directory has %v", entries)
	}
}

// publicKey returns a key file with the given name.
func publicKey(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../download/pgp/testdata/gpg1/key.asc")
	if err != nil {
		t.Fatal(err)
	}
	return write(t, filepath.Join(t.TempDir(), name), string(data))
}

// TestWriteRefuses rejects everything that the other commands would reject, and leaves nothing
// behind.
func TestWriteRefuses(t *testing.T) {
	one, two := publicKey(t, "k.asc"), publicKey(t, "k.asc")
	good := []Repository{{URL: "/x", KeyFiles: []string{one}}}
	withKey := func(file string) Options {
		return Options{Repositories: []Repository{{URL: "/x", KeyFiles: []string{file}}}}
	}
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"no repository":         {Options{}, "at least one repository"},
		"missing key":           {withKey("/no/such/key"), "key file: open /no/such/key"},
		"a directory for a key": {withKey(t.TempDir()), "not a regular file"},
		"a file without a key": {withKey(write(t, filepath.Join(t.TempDir(), "k"), "no key")),
			"gpg --armor --export"},
		"two keys of one name": {Options{Repositories: []Repository{{URL: "/x",
			KeyFiles: []string{one, two}}}}, "the same name"},
		"URL of more than a line": {Options{Repositories: []Repository{{URL: "/x\ny",
			KeyFiles: []string{one}}}}, "control character"},
		"URL of another kind": {Options{Repositories: []Repository{{URL: "ftp://x/y",
			KeyFiles: []string{one}}}}, "not supported"},
		"URL without a host": {Options{Repositories: []Repository{{URL: "https:///y",
			KeyFiles: []string{one}}}}, "without a host"},
		"URL with a token": {Options{Repositories: []Repository{{URL: "https://h/y?t0ken-of-mine",
			KeyFiles: []string{one}}}}, "https://h/y?***: the URL contains a user"},
		"debuginfo with a user": {Options{Repositories: []Repository{{URL: "/x",
			Debuginfo: "https://me:passw0rd@h/y", KeyFiles: []string{one}}}}, "https://***@h/y: " +
			"the URL contains a user"},
		"version range": {Options{Repositories: good, Builds: ">> 2"}, "lpbuild.yaml:"},
		"architecture": {Options{Repositories: good, Arch: []string{"x86_65"}},
			`"x86_65" is not known`},
		"architecture twice": {Options{Repositories: good, Arch: []string{"x86_64", "x86_64"}},
			"occurs twice"},
		"YAML in an architecture": {Options{Repositories: good, Arch: []string{"x86_64]\nname: y"}},
			"lpbuild.yaml:"},
		"product with a blank": {Options{Repositories: good, Product: "SLE 15"},
			"not a directory name"},
		"invalid package name": {Options{Repositories: good, Package: "gl ibc"},
			"not a name that RPM takes"},
		"author of two lines": {Options{Repositories: good, Author: "J\nX"},
			"not one line of text"},
		"invalid name":            {Options{Repositories: good, Name: "a b"}, "--name"},
		"name that leads outside": {Options{Repositories: good, Name: "../b"}, "--name"},
		"name that is too long": {Options{Repositories: good, Name: strings.Repeat("a", 129)},
			"no more than 80 fit"},
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "deep", "lp")
		_, err := Write(dir, tc.o)
		if err == nil || !strings.Contains(err.Error(), tc.want) ||
			strings.Contains(err.Error(), "lpbuild-init-") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if entries, _ := os.ReadDir(parent); len(entries) > 0 {
			t.Errorf("%s: %v was left behind", name, entries)
		}
	}
}

// TestWriteSecretKey keeps a secret key out of a directory that is meant to be published.
func TestWriteSecretKey(t *testing.T) {
	key := write(t, filepath.Join(t.TempDir(), "secret.asc"),
		string(pgptest.Get(t, pgptest.Ed25519).GPG(t, nil, "--armor", "--export-secret-keys")))
	dir := filepath.Join(t.TempDir(), "lp")
	if _, err := Write(dir,
		Options{Repositories: []Repository{{URL: "/x", KeyFiles: []string{key}}}}); err == nil ||
		!strings.Contains(err.Error(), "secret key") {
		t.Errorf("error is %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was written")
	}
}

// TestWriteFails removes what it wrote when the disk fails half-way.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "keys"), "a file where a directory belongs")
	_, err := Write(dir,
		Options{Repositories: []Repository{{URL: "/x", KeyFiles: []string{publicKey(t, "k.asc")}}}})
	if err == nil {
		t.Error("no error")
	}
	files := []file{{"a/b/c", nil}, {"d", nil}, {"d/e", nil}}
	if err := writeAll(dir, files); err == nil {
		t.Error("a file below a file was written")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the directory has %v", entries)
	}
}

// TestWriteLicense expects the license of the code that a live patch contains.
func TestWriteLicense(t *testing.T) {
	for pkg, want := range map[string]string{"glibc": glibcLicense,
		"libopenssl3": "LGPL-2.1-or-later"} {
		dir := filepath.Join(t.TempDir(), "lp")
		if _, err := Write(dir, Options{Package: pkg,
			Repositories: []Repository{{URL: "/x"}}}); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(dir)
		if err != nil || c.License != want {
			t.Errorf("%s: license %q, %v", pkg, c.License, err)
		}
	}
}

// TestMachineRepositories returns zypper's enabled repositories, their debuginfo, and RPM's usable
// initial keys.
func TestMachineRepositories(t *testing.T) {
	root := t.TempDir()
	repos := filepath.Join(root, "etc/zypp/repos.d")
	for name, enabled := range map[string]string{
		"SLE-Update": "1", "SLE-Update-Debuginfo": "0", "Old": "0",
		"SLES:SLE-Product-SLES15-SP5-Updates":           "1",
		"SLES:SLE-Product-SLES15-SP5-Debuginfo-Updates": "0",
		"SLES:SLE-Product-SLES15-SP5-Pool":              "1", "repo-oss": "1", "repo-debug": "0",
	} {
		write(t, filepath.Join(repos, name+".repo"), "["+name+"]\nname="+name+"\nenabled="+enabled+
			"\nbaseurl=http://localhost/"+name+"\n")
	}
	write(t, filepath.Join(root, "usr/lib/rpm/gnupg/keys/ancient.asc"),
		"not a key that can be used")
	if got := MachineRepositories(root); got != nil {
		t.Errorf("without any key: %v", got)
	}
	key := filepath.Join(root, "usr/lib/rpm/gnupg/keys/suse.asc")
	if err := os.Rename(publicKey(t, "suse.asc"), key); err != nil {
		t.Fatal(err)
	}
	repo := func(main, debug string) Repository {
		r := Repository{URL: filepath.Join(repos, main+".repo"), KeyFiles: []string{key}}
		if debug != "" {
			r.Debuginfo = filepath.Join(repos, debug+".repo")
		}
		return r
	}
	want := []Repository{
		repo("SLE-Update", "SLE-Update-Debuginfo"), repo("SLES:SLE-Product-SLES15-SP5-Pool", ""),
		repo("SLES:SLE-Product-SLES15-SP5-Updates",
			"SLES:SLE-Product-SLES15-SP5-Debuginfo-Updates"), repo("repo-oss", "repo-debug"),
	}
	if d := cmp.Diff(want, MachineRepositories(root)); d != "" {
		t.Errorf("repositories (-want +got):\n%s", d)
	}
}

// TestMachineProduct names the product of a machine, so that lpbuild.yaml tells what its
// repositories are for.
func TestMachineProduct(t *testing.T) {
	for text, want := range map[string]string{
		"NAME=\"SLES\"\nID=\"sles\"\nVERSION_ID=\"15.5\"\n": "sles-15.5",
		"ID=opensuse-tumbleweed\nVERSION_ID='20260101'\n":   "opensuse-tumbleweed-20260101",
		"ID=debian\n": "", "": "",
	} {
		root := t.TempDir()
		write(t, filepath.Join(root, "etc/os-release"), text)
		if got := MachineProduct(root); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := MachineProduct(t.TempDir()); got != "" {
		t.Errorf("without a file: %q", got)
	}
}
