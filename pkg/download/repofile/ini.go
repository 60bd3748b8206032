package repofile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/download/fetch"
)

// MaxSize is the most bytes that a .repo file may have. It bounds everything else about it.
const MaxSize = 1 << 20

// maxFindings is how many mistakes of one file are told at once.
const maxFindings = 20

// section is one [name] with its keys.
type section struct {
	name string
	pos  diag.Pos
	keys map[string]value // the last one of each name, as zypper and dnf have it
}

// value is what a key was given, with the lines that continue it.
type value struct {
	lines []string
	pos   diag.Pos // of the key
}

// text returns the value in one line.
func (v value) text() string { return strings.TrimSpace(strings.Join(v.lines, " ")) }

// scanner reads the lines of an INI file.
type scanner struct {
	file     string
	data     []byte
	sections []*section
	lines    map[string]int // of the sections, by their names
	last     string         // key that a line indented further than it continues
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
	pos := diag.Pos{File: s.file, Line: n, Column: 1 + len(line) - len(strings.TrimLeft(line, " \t"))}
	text := strings.TrimLeft(line, " \t")
	switch {
	case text == "" || text[0] == '#' || text[0] == ';':
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		s.report(pos, "this line is not UTF-8 text", "", nil)
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

// continues reports whether a line that begins in that column belongs to the key before it.
func (s *scanner) continues(column int) bool {
	return s.last != "" && column > s.sections[len(s.sections)-1].keys[s.last].pos.Column
}

func (s *scanner) section(text string, pos diag.Pos) {
	s.last = ""
	name, after, found := strings.Cut(text[1:], "]")
	name = strings.TrimSpace(name)
	after = strings.TrimSpace(after)
	if !found || name == "" || after != "" && after[0] != '#' && after[0] != ';' {
		s.report(pos, "a section is written [alias], alone on its line", "", nil)
	}
	if first, found := s.lines[name]; found {
		s.report(pos, fmt.Sprintf("repository %q is there twice, first in line %d", name, first), "", nil)
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
		s.report(pos, "neither a [section], nor key=value, nor a comment", "comments begin with # or ;", nil)
	case len(s.sections) == 0:
		s.report(pos, "this key is before the first [section]", "begin with the repository's alias in brackets", nil)
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

// redactLine hides what may be secret in a line that is shown to people. What comes before the first secret stays where
// it is, so that columns still fit.
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
	schemeRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-." // of a URL's scheme
	keyRunes    = schemeRunes + "_ \t"                                                // of a key, with white space around it
)

// redactWords hides user info and queries of every URL in text, also of what only looks a little like one.
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
