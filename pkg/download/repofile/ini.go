package repofile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// MaxSize is the maximum size of a .repo file in bytes. It bounds everything else in the file.
const MaxSize = 1 << 20

// maxFindings is the maximum number of mistakes reported for one file.
const maxFindings = 20

// section is one [name] with its keys.
type section struct {
	name string
	pos  diag.Pos
	keys map[string]value // the last one of each name, as in zypper and dnf
}

// value is the value of a key, with its continuation lines.
type value struct {
	lines []string
	pos   diag.Pos // of the key
}

// text returns the value on one line.
func (v value) text() string { return strings.TrimSpace(strings.Join(v.lines, " ")) }

// scanner reads the lines of an INI file.
type scanner struct {
	file     string
	data     []byte
	sections []*section
	lines    map[string]int // the sections seen so far, by name
	last     string         // the key that a line with deeper indentation continues
	findings diag.List
}

// scan reads the sections of a file.
func (s *scanner) scan() {
	rest := bytes.TrimPrefix(s.data, []byte("\xef\xbb\xbf"))
	for n := 1; len(rest) > 0 && len(s.findings) < maxFindings; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		s.line(strings.TrimRight(string(line), " \t\r"), n)
	}
}

func (s *scanner) line(line string, n int) {
	pos := diag.Pos{File: s.file, Line: n, Column: 1 +
		len(line) - len(strings.TrimLeft(line, " \t"))}
	text := strings.TrimLeft(line, " \t")
	switch {
	case text == "" || text[0] == '#' || text[0] == ';':
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		s.report(pos, "this line is not valid UTF-8", "", nil)
	case text[0] == '[':
		s.section(text, pos)
	case s.continues(pos.Column):
		keys := s.sections[len(s.sections)-1].keys
		v := keys[s.last]
		keys[s.last] = value{append(v.lines, text), v.pos}
	default:
		s.key(text, pos)
	}
}

// continues reports whether a line that begins in that column continues the key before it.
func (s *scanner) continues(column int) bool {
	return s.last != "" && column > s.sections[len(s.sections)-1].keys[s.last].pos.Column
}

func (s *scanner) section(text string, pos diag.Pos) {
	s.last = ""
	name, after, found := strings.Cut(text[1:], "]")
	name = strings.TrimSpace(name)
	after = strings.TrimSpace(after)
	if !found || name == "" || after != "" && after[0] != '#' && after[0] != ';' {
		s.report(pos, "a section header is [alias], alone on its line", "", nil)
	}
	if first, found := s.lines[name]; found {
		s.report(pos, fmt.Sprintf("repository %q occurs twice, first in line %d", name, first), "",
			nil)
	}
	s.lines[name] = pos.Line
	s.sections = append(s.sections, &section{name: name, pos: pos, keys: map[string]value{}})
}

func (s *scanner) key(text string, pos diag.Pos) {
	name, val, found := strings.Cut(text, "=")
	name = strings.ToLower(strings.TrimSpace(name))
	s.last = ""
	switch {
	case !found || name == "":
		s.report(pos, "neither a [section], nor key=value, nor a comment",
			"comments begin with # or ;", nil)
	case len(s.sections) == 0:
		s.report(pos, "this key is before the first [section]", "begin with the repository's "+
			"alias in brackets", nil)
	default:
		s.sections[len(s.sections)-1].keys[name] = value{[]string{strings.TrimSpace(val)}, pos}
		s.last = name
	}
}

// report adds a finding. The line is shown with its secrets hidden.
func (s *scanner) report(pos diag.Pos, message, hint string, err error) {
	d := &diag.Diagnostic{Pos: pos, Message: message, Hint: hint, Err: err}
	d.Source = redactLine(diag.Line(s.data, pos.Line))
	s.findings = append(s.findings, d)
}

// redactLine hides possible secrets in a line that is shown to the user. Everything before the
// first secret keeps its place, so that columns still match.
func redactLine(line string) string {
	key, _, found := strings.Cut(line, "=")
	if !found || strings.Trim(key, keyRunes) != "" {
		return redactWords(line) // continues a value
	}
	switch strings.TrimSpace(strings.ToLower(key)) {
	case "username", "password", "proxy_username", "proxy_password":
		return key + "=***"
	}
	return key + "=" + redactWords(line[len(key)+1:])
}

const (
	// of a URL's scheme
	schemeRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
	// of a key, with white space around it
	keyRunes = schemeRunes + "_ \t"
)

// redactWords hides user info and queries of everything in text that resembles a URL.
func redactWords(text string) string {
	words := strings.SplitAfter(text, " ")
	for i, word := range words {
		if !strings.ContainsAny(word, "@?#") {
			continue
		}
		start := strings.IndexFunc(word, func(r rune) bool { return r != '\t' && r != ',' })
		redacted := fetch.Redact(word[start:])
		if redacted == word[start:] {
			redacted = "***"
		}
		words[i] = word[:start] + redacted
		if strings.HasSuffix(word, " ") && !strings.HasSuffix(words[i], " ") {
			words[i] += " "
		}
	}
	return strings.Join(words, "")
}
