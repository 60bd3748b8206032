package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/rpmver"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// validConfig uses every key there is.
const validConfig = `name: glibc-livepatches            # RPM package name
version: "0.4"
product: SLE-15-SP5
summary: Live patches for the C library
url: https://example.com
arch: [x86_64, ppc64le]
license: LGPL-2.1-or-later
repositories:
  - url: https://example.com/15-SP5/x86_64/update
    debuginfo: https://example.com/15-SP5/x86_64/update_debug
    keys: [keys/vendor.asc]
  - url: /srv/repo
    unsigned: true
packages:
  - name: glibc
    builds: ">= 2.31-150300.9"
    since: 13 months
patches:
  - library: libc.so.6
    description: libc_livepatch1.in
    sources: [libc_livepatch1.c]
    cflags: [-g3]
    builds: "< 2.38"
    test: test.c
`

// packageDir returns a directory with the files that validConfig names.
func packageDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"keys/vendor.asc", "libc_livepatch1.in", "libc_livepatch1.c",
		"test.c"} {
		write(t, filepath.Join(dir, name), "")
	}
	return dir
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mustRange(t *testing.T, s string) rpmver.Range {
	t.Helper()
	r, err := rpmver.ParseRange(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLoadConfig(t *testing.T) {
	dir := packageDir(t)
	path := filepath.Join(dir, FileName)
	write(t, path, validConfig)
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Dir: dir, Path: path, Name: "glibc-livepatches", Version: "0.4", Product: "SLE-15-SP5",
		Summary: "Live patches for the C library", URL: "https://example.com",
		License: "LGPL-2.1-or-later",
		Arch:    []symtab.Arch{"x86_64", "ppc64le"}, Engine: EngineSystem,
		Entries: symtab.EntriesNOPs,
		Repositories: []Repository{
			{URL: "https://example.com/15-SP5/x86_64/update",
				Debuginfo: "https://example.com/15-SP5/x86_64/update_debug",
				Keys:      []string{"keys/vendor.asc"}},
			{URL: "/srv/repo", Unsigned: true},
		},
		Packages: []Package{{Name: "glibc", Builds: mustRange(t, ">= 2.31-150300.9"),
			Since: Age{Months: 13}}},
		Patches: []Patch{{
			Library: "libc.so.6", Description: "libc_livepatch1.in",
			Sources: []string{"libc_livepatch1.c"},
			CFlags:  []string{"-g3"}, Builds: mustRange(t, "< 2.38"), Unwinding: ulp.UnwindingAny,
			Test: "test.c", Pos: diag.Pos{File: path, Line: 19, Column: 5},
		}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Load (-want +got):\n%s", d)
	}
}

func TestLoadConfigWithoutFile(t *testing.T) {
	_, err := Load(t.TempDir())
	if !errors.Is(err, ErrNoConfig) {
		t.Fatalf("error is %v, want ErrNoConfig", err)
	}
	if text := diag.Render(err, false); !strings.Contains(text, "lpbuild init") {
		t.Errorf("no hint what to do: %s", text)
	}
}

// TestLoadConfigWithoutDirectory tells a directory that is not there from one without a
// configuration.
func TestLoadConfigWithoutDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, "")
	for name, want := range map[string]string{
		filepath.Join(dir, "none"):   "none: error: there is no such directory",
		file:                         "file: error: this is not a directory",
		filepath.Join(file, "below"): "below: error: not a directory",
		strings.Repeat("a", 300):     "aaa: error: file name too long",
	} {
		_, err := Load(name)
		if text := diag.Render(err, false); !strings.Contains(text, want) ||
			!strings.Contains(text, "--dir") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestConfigErrors changes one thing in the valid configuration and wants the place and the
// message.
func TestConfigErrors(t *testing.T) {
	tests := map[string]struct{ old, new, want string }{
		"unknown key": {"license:", "licence:",
			`7:1: error: lpbuild.yaml: unknown key "licence"`},
		"unknown nested key": {"debuginfo:", "debug:",
			`10:5: error: repository: unknown key "debug"`},
		"repeated key": {"license: LGPL-2.1-or-later", "license: X\nlicense: Y",
			`8:1: error: lpbuild.yaml: key "license" occurs twice`},
		"missing key": {"product: SLE-15-SP5\n", "",
			`1:1: error: lpbuild.yaml: key "product" is missing`},
		"number for text": {`version: "0.4"`, `version: 0.4`,
			`2:10: error: version: a text belongs here, not the number 0.4`},
		"list for text": {"name: glibc-livepatches ", "name: [a, b] ",
			`1:7: error: name: a text belongs here, not a list`},
		"text for list": {"arch: [x86_64, ppc64le]", "arch: x86_64",
			`6:7: error: arch: a list belongs here, not "x86_64"`},
		"empty list": {"sources: [libc_livepatch1.c]", "sources: []",
			`21:14: error: sources: the list is empty`},
		"mapping for list": {"cflags: [-g3]", "cflags: {a: b}",
			`22:13: error: cflags: a list belongs here, not a mapping`},
		"nothing for text": {"product: SLE-15-SP5", "product:",
			`product: a text belongs here, not nothing`},
		"text for truth": {"unsigned: true", `unsigned: "yes"`,
			`13:15: error: unsigned: true or false belongs here, not "yes"`},
		"unknown architecture": {"ppc64le]", "ppc64]",
			`6:16: error: arch: "ppc64" is not known`},
		"double architecture": {"ppc64le]", "x86_64]",
			`6:16: error: arch: "x86_64" occurs twice`},
		"unknown engine": {"license:", "engine: native\nlicense:",
			`7:9: error: engine: "native" must be system`},
		"unknown entries": {"license:", "entries: all\nlicense:",
			`7:10: error: entries: "all": must be nops or any`},
		"clones without a reason": {"    test: test.c", "    clones: accept",
			`error: clones: only accept, with a reason, belongs here`},
		"clones, empty reason": {"    test: test.c", "    clones: {accept: \"\"}",
			`error: accept: one line of text belongs here`},
		"unknown unwinding": {"    test: test.c", "    unwinding: some",
			`error: unwinding: "some": must be any or none`},
		"entries twice": {"license:", "entries: any\nentries: any\nlicense:",
			`8:1: error: lpbuild.yaml: key "entries" occurs twice`},
		"missing file": {"test: test.c", "test: tset.c",
			`24:11: error: test: there is no file`},
		"directory for file": {"test: test.c", "test: keys", `24:11: error: test:`},
		"file outside": {"test: test.c", "test: ../test.c",
			`"../test.c" is outside the package directory`},
		"missing key file": {"keys/vendor.asc", "keys/other.asc",
			`11:12: error: keys: there is no file`},
		"neither keys nor unsigned": {"    unsigned: true\n", "",
			`12:5: error: repository: neither keys nor unsigned: true`},
		"keys and unsigned": {"    unsigned: true\n",
			"    unsigned: true\n    keys: [keys/vendor.asc]\n",
			`keys and unsigned: true contradict each other`},
		"bad range": {`">= 2.31-150300.9"`, `">= "`, `16:17: error: builds:`},
		"bad age": {"13 months", "13 moons",
			`17:12: error: since: "13 moons" is not an age`},
		"bad max-age": {"unsigned: true", "unsigned: true\n    max-age: 30",
			`14:14: error: max-age: a text belongs here, not the number 30`},
		"no max-age": {"unsigned: true", "unsigned: true\n    max-age: 0 days",
			`14:14: error: max-age: "0 days" is not an age beyond zero`},
		"no age": {"13 months", "0 months",
			`"0 months" is not an age beyond zero`},
		"macro in name": {"name: glibc-livepatches ", "name: 'a%(id)' ",
			`is not a name that RPM takes`},
		"shell in version": {`version: "0.4"`, `version: "0.4;id"`,
			`is not a version that RPM takes`},
		"path in product": {"SLE-15-SP5", "../SLE", `is not a directory name`},
		"package twice": {"packages:\n", "packages:\n  - name: glibc\n",
			`16:5: error: package "glibc" occurs twice`},
		"relative library": {"library: libc.so.6", "library: lib64/libc.so.6",
			`write the whole path inside the package`},
		"library above": {"library: libc.so.6", "library: ../libc.so.6",
			`is neither a base name`},
		"response file": {"[-g3]", "['@flags']", `response files are not supported`},
		"output flag": {"[-g3]", "['-o', x]", `22:14: error: cflags: "-o" is not ` +
			`a flag that a package may use`},
		"another root": {"[-g3]", "[--sysroot=/tmp]",
			`is not a flag that a package may use`},
		"header outside": {"[-g3]", "[-include, ../above.h]",
			`"-include": ../above.h is outside the package directory`},
		"absolute include path": {"[-g3]", "[-I, /opt/include]",
			`"-I": /opt/include is outside the package directory`},
		"version script outside": {"[-g3]", "['-Wl,--version-script=../above.map']",
			`../above.map is outside the package directory`},
		"half a flag": {"[-g3]", "[-g3, -include]",
			`22:13: error: cflags: "-include": what belongs to it is missing`},
		"response file of the linker": {"[-g3]", "['-Wl,@flags']",
			`response files are not supported`},
		"include path outside": {"[-g3]", "['-I../shared']",
			`"-I": ../shared is outside the package directory`},
		"alias": {"product: SLE-15-SP5", "product: &a b\nsummary: *a",
			`aliases are not allowed here`},
		"second document": {"  - library:", "---\n  - library:",
			`there is a second document`},
		"not YAML": {"arch: [x86_64, ppc64le]", "arch: [x86_64", `error: not YAML:`},
		"list that does not end": {"arch: [x86_64, ppc64le]", "arch: [x86_64",
			`6:1: error: not YAML:`},
		"colon that is missing": {"product: SLE-15-SP5", "product SLE-15-SP5",
			`3:1: error: not YAML:`},
		"anchor before an alias": {"product: SLE-15-SP5", "product: &a *a",
			`3:1: error: not YAML:`},
		"quotes that do not end": {"product: SLE-15-SP5", "product: \"SLE-15-SP5",
			`3:1: error: not YAML:`},
		"too little indentation": {"    unsigned: true", "   unsigned: true",
			`13:4: error: not YAML:`},
		"tab": {"  - name: glibc", "\t- name: glibc", `15:2: error: not YAML: found character ` +
			`that cannot start any token`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := packageDir(t)
			if !strings.Contains(validConfig, tc.old) {
				t.Fatalf("%q is not in the valid configuration", tc.old)
			}
			path := filepath.Join(dir, FileName)
			write(t, path, strings.Replace(validConfig, tc.old, tc.new, 1))
			c, err := Load(dir)
			if err == nil || c != nil {
				t.Fatalf("no error, but %+v", c)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %q, want %q in it", err, tc.want)
			}
			var list diag.List
			if !errors.As(err, &list) || list[0].Source == "" || list[0].Line == 0 ||
				list[0].Column == 0 {
				t.Errorf("the line is not shown:\n%s", diag.Render(err, false))
			}
		})
	}
}

// TestConfigErrorsHideSecrets shows lines without what is in their URLs: errors end up in logs.
func TestConfigErrorsHideSecrets(t *testing.T) {
	for _, value := range []string{
		"[https://u:SECRET@h/?SECRET]", `["https://u:SECRET@h/?SECRET"]`,
		"{a: 'https://u:SECRET@h/?SECRET'}", `"https://u:SECRET@h/?SECRET`,
		"https://u:SECRET@h/?SECRET ]", "ftp://u:SECRET@h/?SECRET", "https://u s:SECRET@h/?SECRET",
		"https://u:SECRET@h/?SECRET\n    url: x",
		"&a https://u:SECRET@h/?SECRET", "https://u:SECRET@h/?SECRET: x",
		"!!binary https://u:SECRET@h/?SECRET",
	} {
		c, err := Parse("lpbuild.yaml", []byte("name: x\nrepositories:\n  - url: "+value+
			"\n    unsigned: true\n"))
		if err == nil {
			_, err = c.Request(time.Now())
		}
		if text := diag.Render(err, false) + err.Error(); strings.Contains(text, "SECRET") {
			t.Errorf("%s:\n%s", value, text)
		}
	}
}

// TestConfigErrorsAllAtOnce wants every mistake of a file in one run.
func TestConfigErrorsAllAtOnce(t *testing.T) {
	_, err := Parse("x/lpbuild.yaml", []byte("name: 7\nversion: 8\nflavour: sweet\narch: []\n"))
	var list diag.List
	if !errors.As(err, &list) {
		t.Fatalf("%v is not a list", err)
	}
	// two numbers, one unknown key, one empty list, five keys that are missing
	if len(list) != 9 {
		t.Errorf("%d findings, want 9:\n%s", len(list), diag.Render(err, false))
	}
}

func TestConfigSuggestsKey(t *testing.T) {
	_, err := Parse("lpbuild.yaml", []byte("licence: MIT\n"))
	if text := diag.Render(err, false); !strings.Contains(text, `did you mean "license"?`) {
		t.Errorf("no suggestion:\n%s", text)
	}
}

func TestAge(t *testing.T) {
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	tests := map[string]string{
		"1 day": "2026-03-14", "2 weeks": "2026-03-01", "13 months": "2025-02-15",
		"1 year": "2025-03-15", "90 days": "2025-12-15",
	}
	for text, want := range tests {
		a, err := parseAge(text)
		if err != nil {
			t.Errorf("parseAge(%q): %v", text, err)
			continue
		}
		if got := a.Before(now).Format(time.DateOnly); got != want {
			t.Errorf("%q before %s is %s, want %s", text, now.Format(time.DateOnly), got, want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(validConfig))
	f.Add([]byte("name: [\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("- - - -\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("dir/lpbuild.yaml", text)
		if (err == nil) != (c != nil) {
			t.Fatalf("config %v with error %v", c, err)
		}
		var list diag.List
		if err != nil && !errors.As(err, &list) {
			t.Fatalf("%T is not a list of findings", err)
		}
	})
}

// TestReleaseVersion reads it out of products' names.
func TestReleaseVersion(t *testing.T) {
	for product, want := range map[string]string{
		"SLE-15-SP5": "15.5", "SLES15SP5": "15.5", "SLE_15_SP7-ppc64le": "15.7", "SLE-15": "15",
		"SLE-12-SP5-x86_64": "12.5", "openSUSE-Leap-15.6": "15.6",
		"SLES-16.0": "16.0", "Fedora-40": "40", "product": "", "Tumbleweed": "", "SP5": "",
		"SLE-15-and-16": "", "SLE-15-SP5-SP6": "",
	} {
		if got := ReleaseVersion(product); got != want {
			t.Errorf("%s: %q, want %q", product, got, want)
		}
	}
}

// TestMaxAge hands on since when a repository must have been signed, to both of an entry.
func TestMaxAge(t *testing.T) {
	dir := packageDir(t)
	text := strings.Replace(validConfig, "    unsigned: true\n",
		"    unsigned: true\n    max-age: 30 days\n", 1)
	c, err := Parse(filepath.Join(dir, FileName), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	c.Repositories = c.Repositories[1:] // the key of the first one is an empty file
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	req, err := c.Request(now)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := req.Repositories[0].NotBefore, now.AddDate(0, 0, -30); !got.Equal(want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if req.ReleaseVersion != "15.5" {
		t.Errorf("the release version is %q", req.ReleaseVersion)
	}
}
