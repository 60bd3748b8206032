package engine

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Wildcard is a pattern as fnmatch(3) takes it: "*" stands for any characters, also for "/" and for
// a dot in front, "?" for one, "[a-z]" for one of a set, "[!a-z]" or "[^a-z]" for one that is not
// in it, and "[:digit:]" and the like for classes within a set. A "[" without its "]" stands for
// itself.
type Wildcard struct {
	pattern string
	escape  bool // a backslash takes the meaning of the next character away
}

// NewWildcard returns a pattern in which a backslash takes the meaning of the next character away.
func NewWildcard(pattern string) Wildcard { return Wildcard{pattern, true} }

// newFileWildcard returns a pattern for names of files, in which a backslash is a character like
// others.
func newFileWildcard(pattern string) Wildcard { return Wildcard{pattern, false} }

// String returns the pattern.
func (w Wildcard) String() string { return w.pattern }

// Match reports whether the pattern describes the whole of s. It takes at most the product of both
// lengths.
func (w Wildcard) Match(s string) bool {
	p := w.pattern
	// the last "*": what follows it in the pattern, and where in s that was tried
	starred, after, from := false, "", ""
	for p != "" || s != "" {
		if p != "" && p[0] == '*' {
			p = p[1:]
			starred, after, from = true, p, s
			continue
		}
		if p != "" && s != "" {
			c, size := utf8.DecodeRuneInString(s)
			if ok, length := w.one(p, c); ok {
				p, s = p[length:], s[size:]
				continue
			}
		}
		if !starred || from == "" {
			return false
		}
		_, size := utf8.DecodeRuneInString(from)
		from = from[size:]
		p, s = after, from
	}
	return true
}

// MatchBeginning reports whether the pattern describes anything that begins with s.
func (w Wildcard) MatchBeginning(s string) bool {
	p := w.pattern
	for p != "" && s != "" {
		if p[0] == '*' {
			return true
		}
		c, size := utf8.DecodeRuneInString(s)
		ok, length := w.one(p, c)
		if !ok {
			return false
		}
		p, s = p[length:], s[size:]
	}
	return s == ""
}

// one matches the first element of a pattern, which is not empty, and returns its length.
func (w Wildcard) one(p string, c rune) (ok bool, length int) {
	want, size := utf8.DecodeRuneInString(p)
	switch {
	case want == '?':
		return true, size
	case want == '[':
		if set, length := cutSet(p, w.escape); length > 0 {
			return inSet(set, c, w.escape), length
		}
	case want == '\\' && w.escape && len(p) > size:
		next, n := utf8.DecodeRuneInString(p[size:])
		return next == c, size + n
	}
	return want == c, size
}

// cutSet returns what is between the brackets at the beginning of p, and the length with them; 0 if
// there is no end.
func cutSet(p string, escape bool) (set string, length int) {
	i := 1
	if i < len(p) && (p[i] == '!' || p[i] == '^') {
		i++
	}
	if i < len(p) && p[i] == ']' { // as the first one it is a member
		i++
	}
	for i < len(p) {
		switch {
		case p[i] == ']':
			return p[1:i], i + 1
		case strings.HasPrefix(p[i:], "[:"):
			if end := strings.Index(p[i:], ":]"); end > 0 {
				i += end + 1
			}
		case escape && p[i] == '\\' && i+1 < len(p):
			i++
		}
		i++
	}
	return "", 0
}

func inSet(set string, c rune, escape bool) bool {
	rest, not := set, false
	if rest != "" && (rest[0] == '!' || rest[0] == '^') {
		rest, not = rest[1:], true
	}
	for rest != "" {
		if strings.HasPrefix(rest, "[:") {
			if name, after, ok := strings.Cut(rest[2:], ":]"); ok {
				if class := classes[name]; class != nil && class(c) {
					return !not
				}
				rest = after
				continue
			}
		}
		var low rune
		low, rest = member(rest, escape)
		high := low
		if len(rest) > 1 && rest[0] == '-' {
			high, rest = member(rest[1:], escape)
		}
		if low <= c && c <= high {
			return !not
		}
	}
	return not
}

// member takes one character off a set.
func member(set string, escape bool) (rune, string) {
	if escape && set[0] == '\\' && len(set) > 1 {
		set = set[1:]
	}
	c, size := utf8.DecodeRuneInString(set)
	return c, set[size:]
}

var classes = map[string]func(rune) bool{
	"alpha": unicode.IsLetter, "digit": unicode.IsDigit, "upper": unicode.IsUpper,
	"lower": unicode.IsLower,
	"space": unicode.IsSpace, "punct": unicode.IsPunct, "cntrl": unicode.IsControl,
	"print": unicode.IsPrint,
	"alnum": func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) },
	"graph": func(c rune) bool { return unicode.IsGraphic(c) && !unicode.IsSpace(c) },
	"blank": func(c rune) bool { return c == ' ' || c == '\t' },
	"xdigit": func(c rune) bool {
		return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	},
}
