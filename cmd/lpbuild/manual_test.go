package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
)

func rootForTest() *console.Console {
	return &console.Console{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
}

// TestHelpHasExamples checks that every command has a description, an example and its exit codes in
// its help.
func TestHelpHasExamples(t *testing.T) {
	for _, c := range documented(newRoot(rootForTest())) {
		if c.Short == "" || c.Long == "" || !c.HasSubCommands() && c.Example == "" {
			t.Errorf("%s: no help or no example", c.CommandPath())
		}
		if !c.HasSubCommands() && !strings.Contains(c.Long, "\nEXIT STATUS\n") {
			t.Errorf("%s: exit codes are not documented", c.CommandPath())
		}
	}
}

func generate(t *testing.T) string {
	t.Helper()
	dir, s := t.TempDir(), rootForTest()
	if code := run([]string{"generate", "--man", dir + "/man", "--completion", dir + "/completion"},
		s); code != 0 {
		t.Fatalf("exit code %d: %s", code, s.Err)
	}
	return dir
}

// words returns a text without its line breaks and indentation.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// shownPage returns a man page as a terminal that is wide enough for every line shows it.
func shownPage(t *testing.T, page string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "mandoc", "-T", "utf8", "-O", "width=999",
		page).Output()
	if err != nil {
		t.Fatalf("mandoc %s: %v", page, err)
	}
	var text []rune
	for _, r := range string(out) { // bold and underlined: character, backspace, character
		if r == '\b' {
			text = text[:len(text)-1]
			continue
		}
		text = append(text, r)
	}
	return string(text)
}

// allCommands returns the commands of both programs.
func allCommands() []*cobra.Command {
	s := rootForTest()
	return append(documented(newRoot(s)), documented(engineRoot(s))...)
}

// TestManualsAgree checks that a command's man page has everything that its --help prints: text,
// exit codes, flags and examples, character by character.
func TestManualsAgree(t *testing.T) {
	dir := generate(t)
	for _, c := range allCommands() {
		page := filepath.Join(dir, "man", manualName(c)+".1")
		if out, err := exec.CommandContext(t.Context(), "mandoc", "-T", "lint", "-W", "warning",
			page).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
		got := words(shownPage(t, page))
		text, exit, _ := strings.Cut(console.Long(c), "EXIT STATUS")
		for _, want := range []string{c.Short, text, exit, console.Examples(c),
			console.UseLine(c)} {
			if !strings.Contains(got, words(want)) {
				t.Errorf("%s lacks %q:\n%s", page, words(want), got)
			}
		}
		flags := console.Inherited(c)
		flags.AddFlagSet(c.LocalFlags())
		flags.VisitAll(func(f *pflag.Flag) {
			value, usage := console.FlagUsage(f)
			if want := words("--" + f.Name + " " + value + " " + usage); !f.Hidden &&
				!strings.Contains(got, want) {
				t.Errorf("%s lacks %q", page, want)
			}
		})
	}
}

// TestVariablesAreDocumented checks that each environment variable that the program reads is on the
// man pages of the commands that read it, and that each variable on a man page is read.
func TestVariablesAreDocumented(t *testing.T) {
	internal := []string{"PATH", "GOGC"} // of every program; of the Go runtime
	asked := regexp.MustCompile(`(?:Getenv|LookupEnv)\("([A-Z_]+)"\)|disable\w+ += ` +
		`"([A-Z_]+)"|envDir = "([A-Z_]+)"`)
	// Go's libraries ask for these
	found := []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}
	for arch := range strings.FieldsSeq("X86_64 PPC64LE AARCH64") {
		found = append(found, "LPBUILD_CC_"+arch)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f",
		"{{if .Module}}{{if .Module.Main}}{{.Dir}}{{end}}{{end}}", ".").Output()
	check(t, err)
	for dir := range strings.FieldsSeq(string(out)) {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		check(t, err)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			check(t, err)
			for _, m := range asked.FindAllStringSubmatch(string(text), -1) {
				found = append(found, m[1]+m[2]+m[3])
			}
		}
	}
	var listed []string
	for _, m := range console.Environment {
		for name := range strings.SplitSeq(m.Name, ", ") {
			if listed = append(listed, name); !slices.Contains(found, name) {
				t.Errorf("%s is documented, and nothing asks for it", name)
			}
		}
	}
	for _, name := range found {
		if !slices.Contains(listed, name) && !slices.Contains(internal, name) {
			t.Errorf("%s is asked for, and is not documented", name)
		}
	}
}

// TestSurroundings checks that files and variables are in the help and on the man page of each
// command that they are listed for, and that these commands exist.
func TestSurroundings(t *testing.T) {
	dir := generate(t)
	known := map[string]bool{}
	for _, c := range allCommands() {
		known[console.WordsOf(c)] = true
		var help bytes.Buffer
		console.PrintHelp(c, &help)
		page := words(shownPage(t, filepath.Join(dir, "man", manualName(c)+".1")))
		for _, m := range append(console.MentionedFor(console.Files, c),
			console.MentionedFor(console.Environment, c)...) {
			if want := words(m.Name + " " + m.Text); !strings.Contains(words(help.String()),
				want) || !strings.Contains(page, want) {
				t.Errorf("%s: help or man page lack %q:\n%s\n%s", c.CommandPath(), want, &help,
					page)
			}
		}
		if (len(console.MentionedFor(console.Files, c)) > 0) != strings.Contains(page, " FILES ") ||
			(len(console.MentionedFor(console.Environment, c)) > 0) != strings.Contains(page,
				" ENVIRONMENT ") {
			t.Errorf("%s: the man page has not the sections that it should have:\n%s",
				c.CommandPath(), page)
		}
	}
	for _, m := range append(slices.Clone(console.Files), console.Environment...) {
		for _, c := range m.Commands {
			if !known[c] {
				t.Errorf("%s is listed for %q, which is no command", m.Name, c)
			}
		}
	}
}

// TestConfigManual checks that the man page of lpbuild.yaml describes each key as the reference
// does.
func TestConfigManual(t *testing.T) {
	dir := generate(t)
	page := filepath.Join(dir, "man", "lpbuild.yaml.5")
	if out, err := exec.CommandContext(t.Context(), "mandoc", "-T", "lint", "-W", "warning",
		page).CombinedOutput(); err != nil {
		t.Errorf("%s", out)
	}
	shown := shownPage(t, page)
	keys, err := config.Keys()
	check(t, err)
	for len(keys) > 0 {
		k := keys[0]
		if keys = keys[1:]; k.Form != config.Acceptance {
			keys = append(keys, k.Keys...)
		}
		if !strings.Contains(words(shown), k.Path+" ") || !strings.Contains(words(shown),
			words(k.Doc)) {
			t.Errorf("%s and %q are not in\n%s", k.Path, k.Doc, shown)
		}
	}
	for line := range strings.Lines(example(t)) {
		if !strings.Contains(shown, strings.TrimRight(line, "\n")) {
			t.Errorf("the example lacks %q", line)
		}
	}
}

// TestGenerateAgain checks that the generated files do not depend on time, time zone or home
// directory.
func TestGenerateAgain(t *testing.T) {
	one := generate(t)
	t.Setenv("TZ", "Asia/Kathmandu")
	t.Setenv("HOME", t.TempDir())
	two := generate(t)
	if out, err := exec.CommandContext(t.Context(), "diff", "-r", one,
		two).CombinedOutput(); err != nil {
		t.Errorf("%s", out)
	}
}

// TestCompletions checks that bash accepts the generated script, and what the program answers to
// shells.
func TestCompletions(t *testing.T) {
	dir := generate(t)
	if out, err := exec.CommandContext(t.Context(), "bash", "-n",
		dir+"/completion/lpbuild.bash").CombinedOutput(); err != nil {
		t.Errorf("%s", out)
	}
	for _, name := range []string{"_lpbuild", "lpbuild.fish"} {
		if text, err := os.ReadFile(filepath.Join(dir, "completion", name)); err != nil ||
			!bytes.Contains(text, []byte("__complete")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for typed, want := range map[string]string{
		"dis": "dist\n:4\n", "build ": ":4\n", "trigger ": "so\n:8\n",
		"trigger --engine ":      "auto\npulp\nnative\n:4\n",
		"init --arch ":           "x86_64\nppc64le\naarch64\n:4\n",
		"hook install --engine ": "auto\npulp\nnative\n:4\n",
		"install --engine ":      ":0\n", "revert --entries ": "nops\nany\n:4\n",
		"trigger --consistency ":  "none\nfunctions\n:4\n",
		"trigger --seccomp ":      "obey\nsuspend\n:4\n",
		"ulp packer --unwinding ": "any\nnone\n:4\n",
		"ulp dump ":               "so\n:8\n",
		"ulp check ":              "so\n:8\n", "ulp trigger ": "so\n:8\n",
		"ulp packer ":    "dsc\nin\n:8\n",
		"ulp packer -l ": "so\n:8\n",
		"ulp post ":      ":0\n", "ulp set_patchable ": "enable\ndisable\n:4\n",
		"ulp set_patchable enable ": ":4\n",
		"ulp patches --color ":      "yes\nno\nauto\n:4\n", "init ": ":16\n",
		"init --import ": ":16\n",
		"init --key ":    ":0\n",
		"build -C ":      ":16\n", "build --jobs ": ":4\n", "dist --obs ": ":16\n",
		"changes add ": ":4\n", "status ": ":4\n",
		"version --": "--json\n--help\n:4\n", "clean --q": "--quiet\n:4\n", "trigger --di": ":4\n",
		"clean --di": "--dir\n:4\n",
		// :4 is that no files may come there, :8 that they have one of these suffixes, :16 that
		// they are directories
	} {
		if got := completed(strings.Split(typed, " ")...); got != want {
			t.Errorf("%q is completed as %q, want %q", typed, got, want)
		}
	}
}

// TestCompletionOfPackage checks that --arch offers what lpbuild.yaml has.
func TestCompletionOfPackage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lp")
	if code := run([]string{"init", dir, "--arch", "ppc64le", "--unsigned", "--repository",
		"/nowhere"}, rootForTest()); code != 0 {
		t.Fatalf("init: exit code %d, want 0", code)
	}
	for _, words := range [][]string{{"build"}, {"install"}} {
		if got, want := completed("-C", dir, words[0], "--arch", ""), "ppc64le\n:4\n"; got != want {
			t.Errorf("%s --arch is completed as %q, want %q", words, got, want)
		}
	}
}

// TestCompletionOfProcesses checks that -p offers names of running processes, or their numbers once
// a digit is typed, and -u their users.
func TestCompletionOfProcesses(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "lpbuild-complete")
	data, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), name, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	pid := fmt.Sprint(cmd.Process.Pid)
	for _, tc := range []struct{ words, want string }{
		{"trigger -p ", "lpbuild-complete\n"}, {"status -p ", "lpbuild-complete\n"},
		{"ulp check -p ", pid + "\n"},
		{"hook install -p ", "lpbuild-complete\n"}, {"revert -p " + pid[:1], pid + "\n"},
		{"trigger -u ", me.Username + "\n"},
		{"ulp patches -u ", me.Username + "\n"},
	} {
		if got := completed(strings.Split(tc.words, " ")...); !strings.Contains("\n"+got,
			"\n"+tc.want) || !strings.HasSuffix(got, ":4\n") {
			t.Errorf("%q is completed as %q, want %q among them, and no files", tc.words, got,
				tc.want)
		}
	}
}

// completed returns what the program answers to a shell that has these words.
func completed(words ...string) string {
	var out bytes.Buffer
	run(append([]string{"__completeNoDesc"}, words...),
		&console.Console{Out: &out, Err: io.Discard})
	return out.String()
}

// TestVersion checks the output of version and --version.
func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		var out bytes.Buffer
		if run(args, &console.Console{Out: &out,
			Err: io.Discard}); out.String() != program.Line()+"\n" {
			t.Errorf("%q prints %q, want %q", args, &out, program.Line())
		}
	}
}
