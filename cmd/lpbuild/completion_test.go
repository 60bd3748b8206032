package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/console"
)

// shells are programs that print what their shell would offer for a line, one a line: they are
// given the file that was generated and the words of the line. What zsh's own functions would
// choose from is printed as it is handed to them.
var shells = map[string]struct{ file, program string }{
	"bash": {"lpbuild.bash", `. /usr/share/bash-completion/bash_completion; . "$0"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9
complete() { :; }; compopt() { :; }; __start_lpbuild; printf '%s\n' "${COMPREPLY[@]}"`},
	"zsh": {"_lpbuild",
		`compdef() { } ; _describe() { print -rl -- $completions } ; _arguments() { print FILES }
. "$0"; words=("$@"); CURRENT=$#; _lpbuild`},
	"fish": {"lpbuild.fish", `source $argv[1]; complete -C "$argv[2..]"`},
}

// TestCompletionsInShells runs the generated completions in each shell that is installed.
func TestCompletionsInShells(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "lpbuild", "generate", "--completion",
		dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for shell, s := range shells {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("no %s here: its users have it", shell)
			}
			if _, err := os.Stat("/usr/share/bash-completion/bash_completion"); err != nil &&
				shell == "bash" {
				t.Skip("no bash-completion here, which what is written for bash stands on")
			}
			for line, want := range map[string]string{
				"lpbuild dis": "dist", "lpbuild trigger --engine ": "auto native pulp",
				"lpbuild init --arch ":      "aarch64 ppc64le x86_64",
				"lpbuild revert --entries ": "any nops", "lpbuild build ": "",
			} {
				if got := offered(t, shell, s.program, filepath.Join(dir, s.file),
					line); got != want {
					t.Errorf("%q is completed as %q, want %q", line, got, want)
				}
			}
		})
	}
}

// TestCompletionDescriptions checks that descriptions of flags in completions lack the quotes that
// mark the name of a value, which --help shows.
func TestCompletionDescriptions(t *testing.T) {
	described := 0
	for _, cmd := range documented(newRoot(&console.Console{})) {
		words := append(append([]string{"__complete"}, strings.Fields(cmd.CommandPath())[1:]...),
			"--")
		out, err := exec.CommandContext(t.Context(), "lpbuild", words...).Output()
		if err != nil {
			t.Fatalf("%q: %v", words, err)
		}
		if strings.Contains(string(out), "`") {
			t.Errorf("%q: %s", words, out)
		}
		described += strings.Count(string(out), "--dir\tpackage directory\n")
	}
	if described == 0 {
		t.Error("nothing is said of --dir")
	}
	help, err := exec.CommandContext(t.Context(), "lpbuild", "build", "--help").Output()
	if err != nil || !strings.Contains(string(help), "--dir DIR ") {
		t.Errorf("%v: %s", err, help)
	}
}

// offered returns the words that a shell offers for a line, sorted and without their descriptions.
func offered(t *testing.T, shell, program, file, line string) string {
	t.Helper()
	args := append([]string{"-c", program, file}, strings.Split(line, " ")...)
	switch shell {
	case "zsh":
		args = append([]string{"-f"}, args...)
	case "fish":
		args = append([]string{"--no-config"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), shell, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.Output()
	if err != nil && len(out) > 0 {
		// of a shell, the last command's, which may be one that found nothing
		t.Errorf("%q: %v: %s", line, err, out)
	}
	var words []string
	for offer := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(strings.TrimSpace(offer), "\t")
		if word, _, _ = strings.Cut(word, ":"); word != "" { // zsh has descriptions after a colon
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}
