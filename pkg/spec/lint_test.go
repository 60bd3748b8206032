package spec

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestLint expects no complaints by rpmlint about the spec file, whatever the package is called.
// (rpmlint checks less for names like glibc-something.)
func TestLint(t *testing.T) {
	if _, err := exec.LookPath("rpmlint"); err != nil {
		t.Skip("rpmlint is not installed")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "rpmlint.toml")
	put(t, dir, map[string]string{"rpmlint.toml": "ValidLicenses = " +
		"[\"LGPL-2.1-or-later\"]\nFilters = [\"no-buildroot-tag\", \"invalid-url Source0: " +
		"[^:]+$\"]\n"})
	for _, name := range []string{"glibc-livepatches", "openssl-livepatches", "hotfix", "lib64x"} {
		for engine, bundled := range map[string]bool{"system": false, "bundled": true} {
			for groups, what := range map[int]string{1: "whole", 3: "in groups"} {
				t.Run(name+", "+engine+", "+what, func(t *testing.T) {
					t.Parallel()
					p := somePackage()
					p.Name, p.Bundled, p.Groups = name, bundled, groups
					lint(t, config, p)
				})
			}
		}
	}
}

func lint(t *testing.T, config string, p Package) {
	t.Helper()
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, dir, map[string]string{p.Name + ".spec": string(text)})
	cmd := exec.CommandContext(t.Context(), "rpmlint", "--config", config,
		filepath.Join(dir, p.Name+".spec"))
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), " 0 errors, 0 warnings") {
		t.Errorf("%v\n%s", err, out)
	}
}
