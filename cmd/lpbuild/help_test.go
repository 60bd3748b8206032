package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/spf13/cobra"
)

// everyCommand returns a command and all below it, hidden ones and cobra's own included.
func everyCommand(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, everyCommand(sub)...)
	}
	return all
}

func helpOf(c *cobra.Command) string {
	var out bytes.Buffer
	c.InitDefaultHelpFlag()
	console.PrintHelp(c, &out)
	return out.String()
}

// TestHelpFits checks that every --help has examples and no line longer than 100 columns.
func TestHelpFits(t *testing.T) {
	for _, c := range everyCommand(newRoot(rootForTest())) {
		help := helpOf(c)
		if !strings.Contains(help, "\nExamples:\n  ") {
			t.Errorf("%s --help has no examples", c.CommandPath())
		}
		for line := range strings.Lines(help) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > console.HelpWidth {
				t.Errorf("%s --help: %d columns, want at most %d: %s", c.CommandPath(), n,
					console.HelpWidth, line)
			}
		}
	}
}

// TestHelpHasGroups checks that the commands of lpbuild and of lpbuild ulp are listed once, each
// below the title of a group.
func TestHelpHasGroups(t *testing.T) {
	root := newRoot(rootForTest())
	ulp, _, err := root.Find([]string{"ulp"})
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range []*cobra.Command{root, ulp} {
		help := helpOf(parent)
		for _, c := range parent.Commands() {
			want := 1
			if c.Hidden {
				want = 0
			}
			if got := strings.Count(help, "\n  "+c.Name()+" "); got != want {
				t.Errorf("%s --help lists %s %d times, want %d:\n%s", parent.CommandPath(),
					c.Name(), got, want, help)
			}
		}
		if strings.Contains(help, "\nCommands:\n") {
			t.Errorf("%s --help has commands without a group:\n%s", parent.CommandPath(), help)
		}
	}
	if help := helpOf(root); !strings.Contains(help, "\nRunning processes:\n  trigger") {
		t.Errorf("trigger is not the first command for running processes:\n%s", help)
	}
}

// TestHelpHasOwnGlobals checks that --help and the table agree about global flags, and that each
// command has a line in the table.
func TestHelpHasOwnGlobals(t *testing.T) {
	root := newRoot(rootForTest())
	for _, c := range everyCommand(root) {
		path := console.WordsOf(c)
		if c == root || c.Name() == "help" || strings.HasPrefix(path, "completion") {
			continue
		}
		listed, ok := console.Globals[path]
		if !ok {
			t.Errorf("%q is missing from globals", path)
		}
		help := helpOf(c)
		for _, name := range []string{"dir", "json", "quiet"} {
			want := slices.Contains(listed, name)
			if got := strings.Contains(help, "--"+name+" "); got != want &&
				(name != "dir" || path != "demo") {
				t.Errorf("%s --help lists --%s: %v, want %v:\n%s", c.CommandPath(), name, got, want,
					help)
			}
		}
	}
}

// TestHelpHasOwnExitCodes checks some commands' exit codes, and that no command lists a code twice.
func TestHelpHasOwnExitCodes(t *testing.T) {
	want := map[string]string{
		"download": "0 1 2 3 4 130", "build": "0 1 2 4 130", "version": "0 1 2",
		"status":       "0 1 2 130",
		"hook install": "0 2", "ulp dump": "0 1 64", "ulp check": "0 1 64 255", "init": "0 1 2",
	}
	for _, c := range everyCommand(newRoot(rootForTest())) {
		_, exit, _ := strings.Cut(helpOf(c), "\nExit status:\n")
		var codes []string
		for line := range strings.Lines(exit) {
			if strings.HasPrefix(line, "  ") && line[2] != ' ' {
				codes = append(codes, strings.Fields(line)[0])
			}
		}
		if got := strings.Join(codes, " "); want[console.WordsOf(c)] != "" &&
			got != want[console.WordsOf(c)] {
			t.Errorf("%s --help lists exit codes %s, want %s", c.CommandPath(), got,
				want[console.WordsOf(c)])
		}
		if slices.Sort(codes); len(slices.Compact(slices.Clone(codes))) != len(codes) {
			t.Errorf("%s --help lists an exit code twice: %q", c.CommandPath(), codes)
		}
	}
}

// TestFlagUsage checks that a quoted word at the beginning names the value and nothing else.
func TestFlagUsage(t *testing.T) {
	for usage, want := range map[string][2]string{
		"`nops|any` functions that\nmay be changed": {"nops|any", "functions that may be changed"},
		"try up to `N` times":                       {"N", "try up to N times"},
		"no value":                                  {"string", "no value"},
	} {
		c := &cobra.Command{}
		c.Flags().String("flag", "", usage)
		if value, text := console.FlagUsage(c.Flags().Lookup("flag")); [2]string{value,
			text} != want {
			t.Errorf("flagUsage of %q = %q, %q, want %q", usage, value, text, want)
		}
	}
}
