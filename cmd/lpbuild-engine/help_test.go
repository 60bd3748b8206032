package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
)

// TestHelp checks that the help of every command fits, and that its examples call this program and
// commands that it has.
func TestHelp(t *testing.T) {
	program.SetName(enginecli.Name)
	s := &console.Console{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	root := enginecli.Root(s, ulpcli.NewForProcesses(s))
	other := regexp.MustCompile(`(^|[^/\w.-])lpbuild [a-z]+`)
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		var out bytes.Buffer
		c.InitDefaultHelpFlag()
		console.PrintHelp(c, &out)
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > console.HelpWidth {
				t.Errorf("%s --help: %d columns, want at most %d: %s", c.CommandPath(), n,
					console.HelpWidth, line)
			}
			if call := other.FindString(line); call != "" && !strings.Contains(line, "lpbuild is") {
				t.Errorf("%s --help: calls %q, want %s: %s", c.CommandPath(), call, root.Name(),
					line)
			}
		}
		called := 0
		for line := range strings.Lines(strings.ReplaceAll(console.Examples(c), "\\\n", " ")) {
			words := strings.Fields(line)
			for i, word := range words {
				if word != root.Name() {
					continue
				}
				if found, _, err := root.Find(words[i+1:]); err != nil || found == root {
					t.Errorf("%s --help: example %q calls no command", c.CommandPath(), line)
				}
				called++
			}
		}
		if called == 0 {
			t.Errorf("%s --help: no example calls %s", c.CommandPath(), root.Name())
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(root)
}
