package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/distro"
)

// withoutResult are commands that print a text or a transcript instead of a result. The commands of
// ulp have a script of their own.
var withoutResult = []string{"lpbuild demo", "lpbuild generate", "lpbuild schema"}

// TestJSON checks that every command that prints a result prints one JSON value with --json,
// without null: an empty list is a list.
func TestJSON(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("LPBUILD_CACHE", filepath.Join(dir, "store"))
	if _, err := distro.StandardRepository(t.Context(), filepath.Join(dir, "repo"),
		distro.StandardOptions{Builds: 1,
			KeyOptions: distro.KeyOptions{Algorithm: "ed25519"}}); err != nil {
		t.Fatal(err)
	}
	lp, repo := filepath.Join(dir, "lp"), filepath.Join(dir, "repo")
	// that needs a build service: obs.txtar
	covered := append(slices.Clone(withoutResult), "lpbuild submit")
	for _, step := range []struct {
		command, name string
		args          []string
		code          int
	}{
		{"version", "", nil, 0},
		{"init", "", []string{lp, "--repository", repo + "/update", "--debuginfo", repo +
			"/update_debug", "--key", repo + "/key.asc"}, 0},
		{"download", "the first time", nil, 0},
		{"download", "with nothing new", nil, 0},
		{"download", "without a network", []string{"--offline"}, 0},
		{"build", "", nil, 0},
		{"build", "with nothing to do", nil, 0},
		{"trigger", "without processes", []string{"-p", "no-process-has-this-name",
			filepath.Join(lp, "build/x86_64/*.so")}, 1},
		{"revert", "without processes", []string{"-p", "no-process-has-this-name", "--all",
			"libnone.so"}, 1},
		{"status", "without processes", []string{"-p", "no-process-has-this-name"}, 1},
		{"hook install", "", []string{"--worker", "-n", "no-package", "1", "libnone.so", "1"}, 0},
		{"hook remove", "", []string{"--worker", "-n", "no-package", "1", "libnone.so", "0"}, 0},
		{"hook movelibs", "", []string{"--worker", "-n", "no-package", "1", "libnone.so", "1"}, 0},
		{"hook removelibs", "", []string{"--worker", "-n", "no-package", "1", "libnone.so", "1"},
			0},
		{"hook reconcile", "", []string{"--worker", "-n", "-p", "no-process-has-this-name"}, 0},
		{"changes add", "", []string{"Fix"}, 0},
		{"dist", "", nil, 0},
		{"install", "", []string{"--root", filepath.Join(dir, "root")}, 0},
		{"clean", "", nil, 0},
		{"clean", "with nothing to remove", nil, 0},
		{"build", "with a refused cell", nil, 1}, // of a description that is written below
		{"clean", "after a refused cell", nil, 0},
	} {
		what := fmt.Sprintf("lpbuild %s --json %s", step.command, step.name)
		covered = append(covered, "lpbuild "+step.command)
		if step.name == "with a refused cell" {
			bad := "libc_{version}-{release}_livepatch1.so\n@{library}\n" +
				"no_such_function:malloc_lp\n"
			if err := os.WriteFile(filepath.Join(lp, "libc_livepatch1.in"), []byte(bad),
				0o644); err != nil {
				t.Fatal(err)
			}
		}
		var out, errs bytes.Buffer
		args := append([]string{"--json", "-C", lp}, append(strings.Fields(step.command),
			step.args...)...)
		if code := run(args, &console.Console{Out: &out, Err: &errs}); code != step.code {
			t.Fatalf("%s: exit code %d, want %d\n%s%s", what, code, step.code, out.String(),
				errs.String())
		}
		var v any
		if err := json.Unmarshal(out.Bytes(), &v); err != nil {
			t.Errorf("%s: %v in %s", what, err, out.String())
		}
		for _, path := range nulls(v, "") {
			t.Errorf("%s: %s is null:\n%s", what, path, out.String())
		}
	}
	for _, name := range leaves(newRoot(&console.Console{Out: &bytes.Buffer{},
		Err: &bytes.Buffer{}})) {
		if !slices.Contains(covered, name) {
			t.Errorf("%s is not in this test", name)
		}
	}
}

// nulls returns the paths of the nulls in a JSON value.
func nulls(v any, path string) []string {
	var found []string
	switch v := v.(type) {
	case nil:
		return []string{path + "."}
	case []any:
		for i, e := range v {
			found = append(found, nulls(e, fmt.Sprintf("%s[%d]", path, i))...)
		}
	case map[string]any:
		for key, e := range v {
			found = append(found, nulls(e, path+"."+key)...)
		}
	}
	return found
}

// leaves returns the commands without subcommands, except those of ulp.
func leaves(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		switch {
		case console.IsBelow(c, "ulp") || c.Name() == "help" || c.Name() == "completion":
		case c.HasSubCommands():
			names = append(names, leaves(c)...)
		default:
			names = append(names, c.CommandPath())
		}
	}
	return names
}
