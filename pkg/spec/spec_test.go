package spec

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func somePackage() Package {
	return Package{
		Name: "glibc-livepatches", Version: "0.4", Summary: "Live patches for glibc",
		License: "LGPL-2.1-or-later",
		URL:     "https://example.com/a%20b",
		Description: "What it is.\n\nFixes:\n* CVE-2024-2961 " +
			"100%", Arch: []string{"x86_64", "ppc64le"},
		Packages: []string{"glibc"}, Libraries: []string{"libc.so.6"},
		Comments: []string{"CVE-2024-2961 bsc#1222992"},
		Time:     1767323045,
	}
}

func TestRenderGolden(t *testing.T) {
	got, err := somePackage().Render()
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "glibc-livepatches.spec")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("spec (-want +got):\n%s", d)
	}
}

// query has RPM read the spec file and returns the result of a query.
func query(t *testing.T, p Package, format string, args ...string) string {
	t.Helper()
	if len(args) == 0 {
		args = []string{"--srpm"}
	}
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.spec")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	all := append([]string{ownMacros}, append(args, "-q", "--qf", format, name)...)
	out, err := exec.Command("rpmspec", all...).CombinedOutput()
	if err != nil {
		t.Fatalf("rpmspec: %v: %s", err, out)
	}
	return string(out)
}

// TestRPMReadsSpec checks that RPM reads the values as intended, including percent signs.
func TestRPMReadsSpec(t *testing.T) {
	got := query(t, somePackage(),
		"%{NAME}|%{VERSION}|%{LICENSE}|%{URL}|%{DESCRIPTION}|[%{EXCLUSIVEARCH} ]")
	want := "glibc-livepatches|0.4|LGPL-2.1-or-later|https://example.com/a%20b|What it " +
		"is.\n\nFixes:\n* CVE-2024-2961 100%|x86_64 ppc64le "
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rpmspec (-want +got):\n%s", d)
	}
}

// TestMacrosAreText checks that no value of the configuration runs a command or begins a section.
func TestMacrosAreText(t *testing.T) {
	p := somePackage()
	p.Summary = "%(touch /tmp/lpbuild-owned) %{lua:os.exit(1)}"
	p.Comments = []string{"CVE %(id)\n%build\nid"}
	p.Description = "%(id)\n%post\n %if 0\nid"
	got := query(t, p, "%{SUMMARY}|%{DESCRIPTION}|%{POSTIN}", "--target=x86_64")
	if want := "%(touch /tmp/lpbuild-owned) %{lua:os.exit(1)}|* %(id)\n* %post\n*  %if " +
		"0\nid|"; !strings.HasPrefix(got, want) {
		t.Errorf("rpmspec: %q, want %q", got, want)
	}
	if _, err := os.Stat("/tmp/lpbuild-owned"); err == nil {
		t.Error("a summary ran a command")
	}
}

// TestHostileText checks that RPM reads every text as intended, in each tag and in the description:
// no macro is expanded, no line is joined with the next, and none is lost.
func TestHostileText(t *testing.T) {
	owned := filepath.Join(t.TempDir(), "owned")
	for _, s := range []string{
		`a\`, `a\\`, "a%", "a%{", "a%%{x", "a{", "a}", "%[1+1]", "%*", "%#", "$(id)", "${x}",
		"`id`", "#x", "%dnl", "%%dnl", "%if", "%include",
		"%(touch${IFS}" + owned + ")", "%{!?x:%(touch${IFS}" + owned + ")}", "日本語", "Requires:x",
		"'\"",
	} {
		p := somePackage()
		p.Summary, p.License, p.URL, p.Comments = s, s, s, []string{s, "and more"}
		p.Description = "first\n" + s + "\nlast"
		got := query(t, p,
			"%{SUMMARY}|%{LICENSE}|%{URL}|%{DESCRIPTION}|%{VERSION}|[%{EXCLUSIVEARCH} ]")
		line := s
		if s[0] == '%' || s[0] == '#' {
			line = "* " + s
		}
		if want := s + "|" + s + "|" + s + "|first\n" + line +
			"\nlast|0.4|x86_64 ppc64le "; got != want {
			t.Errorf("rpmspec reads %q, want %q", got, want)
		}
	}
	if _, err := os.Stat(owned); err == nil {
		t.Error("a text ran a command")
	}
}

// ownMacros makes rpmspec read only RPM's own macros. Others on the machine, from lpbuild's
// package, libpulp's tools, the distribution or the user, change the meaning of a spec file.
const ownMacros = "--macros=/usr/lib/rpm/macros:/usr/lib/rpm/platform/%{_target}/macros"

// scriptlets returns %post, %preun and %postun as RPM sees them, without blank lines.
func scriptlets(t *testing.T, p Package, args ...string) string {
	t.Helper()
	text := query(t, p, "%{POSTIN}|%{PREUN}|%{POSTUN}", append(args, "--target=x86_64")...)
	return strings.Trim(regexp.MustCompile(`(^|\||\n)\n+`).ReplaceAllString(text, "$1"), "\n")
}

// TestScripts allows no user input in the scripts but plain names: with the macros of libpulp's
// tools, with lpbuild's, and without either.
func TestScripts(t *testing.T) {
	p := somePackage()
	p.Summary, p.Comments, p.Description = "$(id)", []string{"`id`"}, "$(id)"
	p.Libraries = []string{"libc.so.6", "libpthread.so.0"}
	helper := func(path, action, library string) string {
		return path + " " + action + " glibc-livepatches 0.4 " + library + ` "$1" || :` + "\n"
	}
	const lpbuild = "/usr/lib/lpbuild/rpm-helper"
	plain := "" // once for all libraries
	for _, action := range []string{"install", "remove"} {
		plain += "[ ! -x " + lpbuild + " ] || " + helper(lpbuild, action, "libc.so.6") + "exit 0|"
	}
	if got := scriptlets(t, p); got != plain+"(none)" {
		t.Errorf("without macros they are %q, want %q", got, plain+"(none)")
	}
	if got := scriptlets(t, p, "--define", "suse_version 1600"); strings.Count(got, lpbuild+
		" movelibs ") != 2 || strings.Count(got, lpbuild+" removelibs ") != 2 {
		t.Errorf("without macros, from 16 on, they are %q", got)
	}
	got := scriptlets(t, p, "--define", "ulp_post_hook() helper install %1 %2 %3 $1")
	if want := "helper install glibc-livepatches 0.4 libc.so.6 $1\nexit 0|"; !strings.HasPrefix(got,
		want) {
		t.Errorf("with a macro they are %q, want %q", got, want)
	}
	p.Libraries = p.Libraries[:1]
	got = scriptlets(t, p, "--load", "../../rpm-helper/macros.userspace-livepatch", "--define",
		"suse_version 1600")
	want := ""
	for _, action := range []string{"install", "movelibs", "", "removelibs"} {
		if action == "" {
			want += "exit 0|if [ -x " + lpbuild + " ]; then\n  " + helper(lpbuild, "remove",
				"libc.so.6") + "fi\nexit 0|"
			continue
		}
		want += "if [ -x " + lpbuild + " ]; then\n  " + helper(lpbuild, action, "libc.so.6") +
			"elif [ -x /usr/lib/userspace-livepatch/rpm-helper ]; then\n  " +
			helper("/usr/lib/userspace-livepatch/rpm-helper", action, "libc.so.6") + "fi\n"
	}
	if d := cmp.Diff(want+"exit 0", got); d != "" {
		t.Errorf("with lpbuild's macros (-want +got):\n%s", d)
	}
}

// TestBundled checks that a package that contains the engine calls that one, and requires nothing.
func TestBundled(t *testing.T) {
	p := somePackage()
	if got := query(t, p, "[%{REQUIRENAME} ]", "--target=x86_64"); strings.Count(got,
		"lpbuild") < 2 {
		t.Errorf("the package requires %s", got)
	}
	p.Bundled = true
	want := ""
	for _, actions := range [][]string{{"install", "movelibs"}, {"remove", "removelibs"}} {
		for _, action := range actions {
			want += "/usr/libexec/glibc-livepatches/lpbuild-engine hook " + action +
				` -- glibc-livepatches 0.4 libc.so.6 "$1" || :` + "\n"
		}
		want += map[string]string{"install": `if [ -d /run/systemd/system ]; then
  timeout 10 systemctl --no-block start glibc-livepatches-reconcile.timer || :
fi
`}[actions[0]] + "exit 0|"
		if actions[0] == "install" {
			want += `if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then
  timeout 10 systemctl --no-block stop glibc-livepatches-reconcile.timer || :
fi
`
		}
	}
	if d := cmp.Diff(want+"(none)", scriptlets(t, p, "--define", "suse_version 1600", "--define",
		"_libexecdir /usr/libexec")); d != "" {
		t.Errorf("scripts (-want +got):\n%s", d)
	}
	if got := query(t, p, "[%{REQUIRENAME} ]", "--target=x86_64"); strings.Contains(got,
		"lpbuild") {
		t.Errorf("the package requires %s", got)
	}
}

// TestDependencies expects the rich dependency that recommends the package, for each patched
// package.
func TestDependencies(t *testing.T) {
	p := somePackage()
	p.Packages = []string{"glibc", "libopenssl3"}
	got := query(t, p, "[%{SUPPLEMENTNAME};]", "--target=x86_64") + query(t, p, "[%{SOURCE};]")
	want := "(glibc and (lpbuild-engine or libpulp-tools));(libopenssl3 and (lpbuild-engine or " +
		"libpulp-tools));glibc-livepatches-rpmlintrc;glibc-livepatches-0.4.tar.xz;"
	if got != want {
		t.Errorf("supplements and sources are %q, want %q", got, want)
	}
	text, err := p.Render()
	if err != nil || !strings.Contains(string(text), "\nAutoReq:        no\n") ||
		strings.Contains(string(text), "AutoReqProv") {
		t.Errorf("AutoReq: %v", err)
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := map[string]func(*Package){
		"newline in a tag":     func(p *Package) { p.Summary = "a\nRequires: b" },
		"blank summary":        func(p *Package) { p.Summary = " \t" },
		"blank in the URL":     func(p *Package) { p.URL = "https://example.com/a b" },
		"next line, C1":        func(p *Package) { p.Summary = "a\u0085b" },
		"not UTF-8":            func(p *Package) { p.License = "a\xff" },
		"empty license":        func(p *Package) { p.License = "" },
		"shell in a library":   func(p *Package) { p.Libraries = []string{"libc.so.6; id"} },
		"macro in a package":   func(p *Package) { p.Packages = []string{"%(id)"} },
		"blank architecture":   func(p *Package) { p.Arch = []string{""} },
		"control in the name":  func(p *Package) { p.Name = "a\x1bb" },
		"shell in the name":    func(p *Package) { p.Name = "a;id" },
		"shell in the version": func(p *Package) { p.Version = "1$(id)" },
	}
	for name, change := range tests {
		p := somePackage()
		change(&p)
		if text, err := p.Render(); err == nil {
			t.Errorf("%s was accepted:\n%s", name, text)
		}
	}
}
