package engine

import (
	"strings"
	"unicode/utf8"
)

// extended is a pattern as fnmatch(3) takes it with FNM_EXTMATCH: beside what a [Wildcard] has,
// "@(a|b)" stands for one of the patterns in the brackets, "?(a|b)" for one or none, "*(a|b)" for
// any number, "+(a|b)" for one or more, and "!(a|b)" for anything that none of them describes.
type extended string

// maxExtended is how many steps a match may take, which patterns can be made to need any number of.
// Each groupStep bytes among which a group's end is looked for are one more.
const (
	maxExtended = 1 << 18
	groupStep   = 64
)

// match reports whether the pattern describes the whole of s. Where that takes too long to find
// out, it does.
func (e extended) match(s string) bool {
	m := extendedMatch{left: maxExtended}
	return m.match(string(e), s) || m.left <= 0
}

// extendedMatch is a match under way.
type extendedMatch struct{ left int }

func (m *extendedMatch) match(p, s string) bool {
	for {
		if m.left--; m.left <= 0 || p == "" {
			return s == "" && p == ""
		}
		if beginsGroup(p) {
			m.left -= len(p) / groupStep
			if kind, inside, rest, ok := cutGroup(p); ok {
				return m.group(kind, inside, p, rest, s)
			}
		}
		if p[0] == '*' {
			for len(p) > 1 && p[1] == '*' && !beginsGroup(p[1:]) {
				p = p[1:]
			}
			return m.splits(s, func(_, after string) bool { return m.match(p[1:], after) })
		}
		if s == "" {
			return false
		}
		c, size := utf8.DecodeRuneInString(s)
		ok, length := NewWildcard("").one(p, c)
		if !ok {
			return false
		}
		p, s = p[length:], s[size:]
	}
}

// group matches a pattern p that begins with a group, which rest follows.
func (m *extendedMatch) group(kind byte, inside []string, p, rest, s string) bool {
	if (kind == '?' || kind == '*') && m.match(rest, s) {
		return true
	}
	again := kind == '*' || kind == '+'
	return m.splits(s, func(first, after string) bool {
		one := false
		for _, alternative := range inside {
			one = one || m.match(alternative, first)
		}
		return one != (kind == '!') && (m.match(rest, after) || again && first != "" &&
			m.match(p, after))
	})
}

// splits tries all ways to cut s in two.
func (m *extendedMatch) splits(s string, fits func(first, after string) bool) bool {
	for i := 0; i <= len(s) && m.left > 0; i++ {
		if (i == len(s) || utf8.RuneStart(s[i])) && fits(s[:i], s[i:]) {
			return true
		}
	}
	return false
}

func beginsGroup(p string) bool {
	return len(p) > 1 && p[1] == '(' && strings.Contains("?*+@!", p[:1])
}

// cutGroup takes a group off the front of a pattern that begins like one: its kind, the patterns in
// it, and what follows.
func cutGroup(p string) (kind byte, inside []string, rest string, ok bool) {
	depth, from := 0, 2
	for i := 1; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '[':
			if _, length := cutSet(p[i:], true); length > 0 {
				i += length - 1
			}
		case '(':
			depth++
		case '|':
			if depth == 1 {
				inside, from = append(inside, p[from:i]), i+1
			}
		case ')':
			if depth--; depth == 0 {
				return p[0], append(inside, p[from:i]), p[i+1:], true
			}
		}
	}
	return 0, nil, "", false // without an end it stands for itself
}
