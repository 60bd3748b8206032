package spec

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// machine is the architecture of the test binary.
func machine(t *testing.T) symtab.Arch {
	t.Helper()
	l, err := symtab.OpenLibrary("/proc/self/exe", symtab.LibraryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Arch
}

// TestEngineInstall installs engine and units of two packages and of lpbuild into one system: they
// share no files, systemd understands the units, and the timers start with the machine.
func TestEngineInstall(t *testing.T) {
	root := t.TempDir()
	var units []string
	seen := map[string]bool{}
	for _, name := range []string{"glibc-livepatches", "openssl-livepatches"} {
		e := Engine{Program: "/proc/self/exe", Arch: machine(t), Package: name,
			Path: "/usr/libexec/" + name + "/lpbuild-engine", Units: "/usr/lib/systemd/system"}
		paths, err := e.Install(root)
		if err != nil || len(paths) != 4 {
			t.Fatal(paths, err)
		}
		for _, path := range paths {
			if seen[path] || strings.Contains(path, "lpbuild-reconcile") {
				t.Errorf("%s belongs to two packages", path)
			}
			seen[path] = true
		}
		if info, err := os.Stat(paths[0]); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("the engine: %v, %v", info.Mode(), err)
		}
		if target, err := os.Readlink(paths[3]); err != nil ||
			target != "../"+name+"-reconcile.timer" {
			t.Errorf("timers.target wants %q, %v", target, err)
		}
		units = append(units, paths[1], paths[2])
		text, err := os.ReadFile(paths[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"ConditionPathExists=!/usr/bin/lpbuild-engine\n",
			"ExecStart=/usr/libexec/" + name + "/lpbuild-engine hook reconcile\n", "(" + name +
				")\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the service has no %q:\n%s", want, text)
			}
		}
		if strings.Contains(string(text), "Documentation=") {
			t.Error("the service refers to a manual that the package does not have")
		}
		if again, err := e.Install(root); err != nil || cmp.Diff(paths, again) != "" {
			t.Errorf("installed again: %v, %v", again, err)
		}
	}
	verifyUnits(t, root, units)
}

// verifyUnits has systemd check units, with an existing program in place of the engines.
func verifyUnits(t *testing.T, root string, units []string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Dir(unit),
			map[string]string{filepath.Base(unit): strings.ReplaceAll(string(text), "=/usr/libexec",
				"="+root+"/usr/libexec")})
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze",
		append([]string{"verify", "--man=no", "--recursive-errors=no"},
			units...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) { // the machine's own units may cause messages
		if strings.Contains(line, "-livepatches-reconcile") {
			t.Error(line)
		}
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestEngineRefuses rejects an engine that could not run on the package's machines.
func TestEngineRefuses(t *testing.T) {
	root := t.TempDir()
	other := symtab.PPC64LE
	if machine(t) == other {
		other = symtab.X86_64
	}
	script := filepath.Join(t.TempDir(), "lpbuild")
	put(t, filepath.Dir(script), map[string]string{"lpbuild": "#!/bin/sh\n" +
		strings.Repeat("#", 100)})
	for want, e := range map[string]Engine{
		"the package is for " + string(other): {Program: "/proc/self/exe", Arch: other},
		"neither ELF":                         {Program: script, Arch: machine(t)},
		"no such file":                        {Program: script + "x", Arch: machine(t)},
	} {
		e.Package, e.Path, e.Units = "p", "/usr/libexec/p/lpbuild-engine", "/units"
		if paths, err := e.Install(root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v, want %q", paths, err, want)
		}
	}
	if found, err := os.ReadDir(root); err != nil || len(found) > 0 {
		t.Errorf("it created %v, %v", found, err)
	}
}
