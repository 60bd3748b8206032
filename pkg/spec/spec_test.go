package spec

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func somePackage() Package {
	return Package{
		Name: "glibc-livepatches", Version: "0.4", Summary: "Live patches for glibc", License: "LGPL-2.1-or-later",
		URL: "https://example.com/a%20b", Description: "What it is.\n\nFixes:\n* CVE-2024-2961 100%", Arch: []string{"x86_64", "ppc64le"},
		Packages: []string{"glibc"}, Libraries: []string{"libc.so.6"}, Comments: []string{"CVE-2024-2961 bsc#1222992"},
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

// query lets RPM read the spec file and returns what it understood.
func query(t *testing.T, p Package, format string) string {
	t.Helper()
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.spec")
	if err := os.WriteFile(name, text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("rpmspec", "-q", "--srpm", "--qf", format, name).CombinedOutput()
	if err != nil {
		t.Fatalf("rpmspec: %v: %s", err, out)
	}
	return string(out)
}

// TestRPMReadsSpec wants RPM to understand what was meant, percent signs included.
func TestRPMReadsSpec(t *testing.T) {
	got := query(t, somePackage(), "%{NAME}|%{VERSION}|%{LICENSE}|%{URL}|%{DESCRIPTION}|[%{EXCLUSIVEARCH} ]")
	want := "glibc-livepatches|0.4|LGPL-2.1-or-later|https://example.com/a%20b|What it is.\n\nFixes:\n* CVE-2024-2961 100%|x86_64 ppc64le "
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rpmspec (-want +got):\n%s", d)
	}
}

// TestMacrosAreText lets no value of the configuration run a command or begin a section.
func TestMacrosAreText(t *testing.T) {
	p := somePackage()
	p.Summary = "%(touch /tmp/lpbuild-owned) %{lua:os.exit(1)}"
	p.Comments = []string{"CVE %(id)\n%build\nid"}
	p.Description = "%(id)\n%post\n %if 0\nid"
	got := query(t, p, "%{SUMMARY}|%{DESCRIPTION}|%{POSTIN}")
	if want := "%(touch /tmp/lpbuild-owned) %{lua:os.exit(1)}|* %(id)\n* %post\n*  %if 0\nid|"; !strings.HasPrefix(got, want) {
		t.Errorf("rpmspec: %q, want %q", got, want)
	}
	if _, err := os.Stat("/tmp/lpbuild-owned"); err == nil {
		t.Error("a summary ran a command")
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := map[string]func(*Package){
		"newline in a tag":    func(p *Package) { p.Summary = "a\nRequires: b" },
		"empty license":       func(p *Package) { p.License = "" },
		"shell in a library":  func(p *Package) { p.Libraries = []string{"libc.so.6; id"} },
		"macro in a package":  func(p *Package) { p.Packages = []string{"%(id)"} },
		"blank architecture":  func(p *Package) { p.Arch = []string{""} },
		"control in the name": func(p *Package) { p.Name = "a\x1bb" },
	}
	for name, change := range tests {
		p := somePackage()
		change(&p)
		if text, err := p.Render(); err == nil {
			t.Errorf("%s was accepted:\n%s", name, text)
		}
	}
}
