package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/ulpcli"
)

// programs are the programs that examples call. The test replaces each by a script that records its
// arguments.
var programs = []string{"lpbuild", "osc", "rpmbuild", "jq", "systemctl"}

// changesFolder matches the directories that examples change to.
var changesFolder = regexp.MustCompile(`\bcd +([^ )&]+)`)

// calls runs a command line of an example in a shell, with scripts in place of the programs, and
// returns the arguments of each call of lpbuild.
func calls(t *testing.T, line string) [][]string {
	t.Helper()
	home := t.TempDir()
	record := filepath.Join(home, "calls")
	for _, name := range programs {
		script := "#!/bin/sh\n"
		if name == "lpbuild" {
			script += `{ printf '%s\0' "$@"; printf '\n\0'; } >>` + record + "\n"
		}
		if err := os.WriteFile(filepath.Join(home, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range changesFolder.FindAllStringSubmatch(line, -1) {
		if err := os.MkdirAll(filepath.Join(home, strings.TrimPrefix(m[1], "~/")),
			0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-euc", line)
	cmd.Dir, cmd.Env = home, []string{"HOME=" + home, "PWD=" + home, "PATH=" + home}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", line, err, out)
	}
	data, err := os.ReadFile(record)
	if err != nil {
		return nil
	}
	var all [][]string
	for call := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n\x00"), "\n\x00") {
		all = append(all, strings.Split(strings.TrimSuffix(call, "\x00"), "\x00"))
	}
	return all
}

// TestExamplesAreValid checks that the examples of every command are valid shell, call existing
// commands with flags and arguments that these accept, and show the command itself.
func TestExamplesAreValid(t *testing.T) {
	for _, c := range documented(newRoot(rootForTest())) {
		shown := false
		for line := range strings.Lines(strings.ReplaceAll(c.Example, "\\\n", " ")) {
			for _, args := range calls(t, strings.TrimSpace(line)) {
				root := newRoot(rootForTest())
				found, rest, err := root.Find(ulpcli.CommandFirst(root, args))
				if err == nil {
					err = found.ParseFlags(rest)
				}
				if err == nil {
					err = found.ValidateArgs(found.Flags().Args())
				}
				if err != nil {
					t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				}
				shown = shown || found.CommandPath() == c.CommandPath()
			}
		}
		if !shown && !c.HasSubCommands() {
			t.Errorf("%s: no example calls it", c.CommandPath())
		}
	}
}
