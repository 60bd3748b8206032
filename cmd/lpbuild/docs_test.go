package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/lpbuild/lpbuild/internal/enginecli"
	"github.com/lpbuild/lpbuild/internal/ulpcli"
)

// readPages returns the text of each page of the documentation, by its path from the repository's
// top.
func readPages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	check(t, err)
	pages := map[string]string{}
	for _, name := range append(names, "../../README.md", "../../ARCHITECTURE.md",
		"../../CONTRIBUTING.md") {
		text, err := os.ReadFile(name)
		check(t, err)
		pages[strings.TrimPrefix(name, "../../")] = string(text)
	}
	return pages
}

// withoutBlocks is a page without its blocks of code.
func withoutBlocks(text string) string {
	parts := strings.Split("\n"+text, "\n```")
	for i := range parts {
		if i%2 == 1 {
			parts[i] = ""
		}
	}
	return strings.Join(parts, "\n")
}

var (
	pageLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageHeading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notInAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	codeSpan    = regexp.MustCompile("`([^`]+)`")
)

// anchors returns the names of a page's headings in links.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range pageHeading.FindAllStringSubmatch(withoutBlocks(text), -1) {
		all[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ",
			"-")] = true
	}
	return all
}

// TestLinks wants each link between pages to lead to a file, and to a heading where it names one. A
// page in docs/ links to nothing that the RPM lacks.
func TestLinks(t *testing.T) {
	pages, count := readPages(t), 0
	for page, text := range pages {
		for _, m := range pageLink.FindAllStringSubmatch(withoutBlocks(text), -1) {
			to, err := url.Parse(m[1])
			if err != nil || to.Scheme != "" {
				continue
			}
			count++
			target := page
			if to.Path != "" {
				target = filepath.Join(filepath.Dir(page), to.Path)
			}
			if _, err := os.Stat("../../" + target); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: there is no %s", page, m[1])
				continue
			}
			other, isPage := pages[target]
			if !isPage && to.Fragment != "" {
				t.Errorf("%s: %s is not a page", page, m[1])
			}
			if installed := strings.HasPrefix(target, "docs/") ||
				target == "README.md"; strings.HasPrefix(page, "docs/") && !installed {
				t.Errorf("%s: %s is not in the RPM", page, m[1])
			}
			if to.Fragment != "" && !anchors(other)[to.Fragment] {
				t.Errorf("%s: %s: there is no such heading in %s", page, m[1], target)
			}
		}
	}
	if count < 10 {
		t.Errorf("there are %d links: are they still found?", count)
	}
}

// shellWords takes a line apart at blanks that are not in quotes, up to what ends a command.
func shellWords(line string) []string {
	var words []string
	word, quote, started := "", rune(0), false
	end := func() {
		if started {
			words = append(words, word)
		}
		word, started = "", false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, started = r, true
		case strings.ContainsRune("|;&()<>#", r):
			end()
			return words
		case r == ' ' || r == '\n' || r == '\\':
			end()
		default:
			word, started = word+string(r), true
		}
	}
	end()
	return words
}

// commandLine is where a command of lpbuild begins in a line.
var commandLine = regexp.MustCompile(`(?:^|[ (;&|"])((?:lpbuild-engine|lpbuild|ulp) +[a-z-][^\n]*)`)

// commandsOf returns the command lines of lpbuild in a page: in blocks, and as code in the text.
func commandsOf(text string) [][]string {
	var lines []string
	for _, b := range readBlocks(text) {
		code := strings.ReplaceAll(strings.Join(b.lines, "\n"), "\\\n", " ")
		for line := range strings.SplitSeq(code, "\n") {
			isPrompt := strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "# ")
			if b.kind == "sh" || isPrompt {
				lines = append(lines, strings.TrimPrefix(strings.TrimPrefix(line, "$ "), "# "))
			}
		}
	}
	for _, m := range codeSpan.FindAllStringSubmatch(withoutBlocks(text), -1) {
		span := strings.ReplaceAll(m[1], "\n", " ")
		if strings.HasPrefix(span, "lpbuild ") || strings.HasPrefix(span, "lpbuild-engine ") {
			lines = append(lines, span)
		}
	}
	var all [][]string
	for _, line := range lines {
		for _, m := range commandLine.FindAllStringSubmatch(line, -1) {
			words := shellWords(m[1])
			if words[0] == "lpbuild" {
				words = words[1:]
			}
			all = append(all, words)
			if _, rest, ok := strings.Cut(m[1], "&& lpbuild "); ok {
				all = append(all, shellWords(rest))
			}
		}
	}
	return all
}

// wrongCommand returns what is wrong with a command line: a command or a flag that does not exist.
func wrongCommand(root *cobra.Command, args []string) string {
	found, rest, err := root.Find(ulpcli.CommandFirst(root, args))
	if err != nil {
		return err.Error()
	}
	for i, word := range rest {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case word == "--":
			return ""
		case strings.HasPrefix(word, "--") && found.Flag(name) == nil &&
			found.InheritedFlags().Lookup(name) == nil && name != "help":
			return "there is no flag --" + name
		case len(word) > 1 && word[0] == '-' && word[1] != '-':
			if c := word[1:2]; found.Flags().ShorthandLookup(c) == nil &&
				found.InheritedFlags().ShorthandLookup(c) == nil {
				return "there is no flag -" + c
			}
		case i == 0 && word[0] != '-' && found.HasSubCommands():
			return "there is no command " + word
		}
	}
	return ""
}

// TestCommandsInDocs wants each command line of lpbuild in the documentation to name commands and
// flags that there are.
func TestCommandsInDocs(t *testing.T) {
	count := 0
	for page, text := range readPages(t) {
		for _, args := range commandsOf(text) {
			count++
			s := rootForTest()
			root := newRoot(s)
			if args[0] == enginecli.Name {
				root, args = engineRoot(s), args[1:]
			}
			if wrong := wrongCommand(root, args); wrong != "" {
				t.Errorf("%s: %s %s: %s", page, root.Name(), strings.Join(args, " "), wrong)
			}
		}
	}
	if count < 60 {
		t.Errorf("there are %d command lines: are they still found?", count)
	}
}

func TestWrongCommand(t *testing.T) {
	for line, want := range map[string]bool{
		"build --check": false, "-C dir build": false, "trigger -p 1 --entries=any X.so": false,
		"hook install a b c 1": false,
		"bild":                 true, "build --chek": true, "trigger -X": true,
		"hook instal a": true,
		"ulp dump x.so": false, "ulp dmp": true, "build --help": false,
	} {
		if got := wrongCommand(newRoot(rootForTest()), strings.Fields(line)); (got != "") != want {
			t.Errorf("%s: %q", line, got)
		}
	}
	page := "text `lpbuild download --forget` and\n```sh\ncd x && lpbuild build --json | jq . # " +
		"lpbuild bild\n```\n```console\n$ lpbuild dist \\\n   --obs X\nlpbuild output\n```\n"
	var got []string
	for _, args := range commandsOf(page) {
		got = append(got, strings.Join(args, " "))
	}
	if want := "build --json;dist --obs X;download --forget"; strings.Join(got, ";") != want {
		t.Errorf("commands are %q, want %q", got, want)
	}
}

// TestProseIsNarrow wants lines of at most 100 characters in the pages, but for blocks and tables.
func TestProseIsNarrow(t *testing.T) {
	for page, text := range readPages(t) {
		if page == "ARCHITECTURE.md" || page == "CONTRIBUTING.md" {
			continue // not yet
		}
		for line := range strings.Lines(withoutBlocks(text)) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > 100 &&
				!strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "<!--") {
				t.Errorf("%s: %d characters: %s", page, n, line)
			}
		}
	}
}
