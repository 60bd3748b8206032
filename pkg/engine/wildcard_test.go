package engine

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWildcard(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"*", "", true}, {"*", "a/b.c", true},
		{"?", "ä", true}, {"?", "ab", false},
		{"nginx", "nginx", true}, {"nginx", "nginx2", false}, {"ng*x", "nginx", true},
		{"*ginx*", "nginx", true},
		{"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false}, {"*a", "baa", true},
		{"a*", "ba", false},
		{"[a-c]x", "bx", true}, {"[a-c]x", "dx", false}, {"[!a-c]x", "dx", true},
		{"[^a-c]x", "bx", false},
		{"[]]x", "]x", true}, {"[]-a]", "_", true}, {"[[:digit:]]*", "7up", true},
		{"[[:digit:]]*", "up", false}, {"[[:nonsense:]]", "n", false},
		{"[a-]", "-", true}, {"[", "[", true}, {"[a", "[a", true}, {`\*`, "*", true},
		{`\*`, "a", false}, {`[\]]`, "]", true}, {`\`, `\`, true},
		{"*.so", ".so", true}, {"a\nb", "a\nb", true},
	} {
		if got := NewWildcard(tc.pattern).Match(tc.name); got != tc.want {
			t.Errorf("%q matches %q: %v", tc.pattern, tc.name, got)
		}
	}
	if !newFileWildcard(`a\*`).Match(`a\bc`) {
		t.Error("a backslash in a file's name is not itself")
	}
}

// TestWildcardTime wants patterns that are made to be slow to be fast.
func TestWildcardTime(t *testing.T) {
	if NewWildcard(strings.Repeat("*a", 5000) + "b").Match(strings.Repeat("a", 20000)) {
		t.Error("matched")
	}
}

// FuzzWildcard compares with a matcher that tries everything.
func FuzzWildcard(f *testing.F) {
	f.Add("a*[!b-d]?", "abcde")
	f.Add(`[[:alpha:]-]*\*`, "x-*")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 12 || len(name) > 12 || !utf8.ValidString(pattern) ||
			!utf8.ValidString(name) {
			return
		}
		w := NewWildcard(pattern)
		if got, want := w.Match(name), tryAll(w, pattern, name); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}

func tryAll(w Wildcard, p, s string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '*':
		for i := range len(s) + 1 {
			if (i == len(s) || utf8.RuneStart(s[i])) && tryAll(w, p[1:], s[i:]) {
				return true
			}
		}
		return false
	case s == "":
		return false
	}
	c, size := utf8.DecodeRuneInString(s)
	ok, length := w.one(p, c)
	return ok && tryAll(w, p[length:], s[size:])
}

func TestMatchBeginning(t *testing.T) {
	for _, tc := range []struct {
		pattern, beginning string
		want               bool
	}{
		{"systemd-journald", "systemd-journal", true}, {"systemd-journal", "systemd-journal", true},
		{"no-process-has-this-name", "systemd-journal", false},
		{"system", "systemd-journal", false}, {"sys*", "systemd-journal", true}, {"*", "x", true},
		{"?ystemd-[jk]ournald", "systemd-journal", true},
		{"?ystemd-[kl]ournald", "systemd-journal", false}, {"", "x", false}, {"x", "", true},
	} {
		if got := NewWildcard(tc.pattern).MatchBeginning(tc.beginning); got != tc.want {
			t.Errorf("%q, %q: %v", tc.pattern, tc.beginning, got)
		}
	}
}
