package engine

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestExtended(t *testing.T) {
	for _, tc := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"a", "", false}, {"*", "", true}, {"*/a?", "/x/ab", true},
		{"[a-c]x", "bx", true}, {"a", "ab", false},
		{"@(a|bc)", "a", true}, {"@(a|bc)", "bc", true}, {"@(a|bc)", "", false},
		{"@(a|bc)", "abc", false}, {"*/@(a|b)*", "/x/by", true},
		{"x?(a|b)y", "xy", true}, {"x?(a|b)y", "xay", true}, {"x?(a|b)y", "xaby", false},
		{"*(ab|c)", "", true}, {"*(ab|c)", "abcab", true}, {"*(ab|c)", "abb", false},
		{"*(|a)", "aa", true},
		{"+(ab|c)d", "d", false}, {"+(ab|c)d", "cabd", true}, {"+()", "", true},
		{"+()", "a", false},
		{"!(a|b)", "a", false}, {"!(a|b)", "ab", true}, {"!(a|b)", "", true},
		{"/bin/!(*sql)d", "/bin/mysqld", false}, {"/bin/!(*sql)", "/bin/sh", true},
		{"@(a@(b|c)|d)e", "ace", true}, {"@(a@(b|c)|d)e", "abce", false}, {"@([)])", ")", true},
		{`@(\)|a)`, ")", true}, {"@(a|[|])", "|", true},
		{"@(a", "@(a", true}, {"(a|b)", "(a|b)", true}, {"@a", "@a", true}, {"@(ä|b)?", "äß", true},
	} {
		if got := extended(tc.pattern).match(tc.name); got != tc.want {
			t.Errorf("%q matches %q: %v", tc.pattern, tc.name, got)
		}
	}
}

// TestExtendedTime wants patterns that are made to be slow to come to an end, and to forbid rather
// than to allow.
func TestExtendedTime(t *testing.T) {
	if !extended(strings.Repeat("*(*a)", 200) + "b").match(strings.Repeat("a", 20000)) {
		t.Error("what cannot be found out does not forbid")
	}
	for _, pattern := range []string{strings.Repeat("!(", 100000), strings.Repeat("*", 100000) +
		"b"} {
		if extended(pattern).match("a") {
			t.Errorf("%.4s matched", pattern)
		}
	}
	extended(strings.Repeat("*!(", 50000)).match(strings.Repeat("!(", 2000))
}

// FuzzExtended wants patterns without groups to be wildcards, and any pattern to come to an end.
func FuzzExtended(f *testing.F) {
	f.Add("a*[!b-d]?", "abcde")
	f.Add("!(a|+(b?)|*(c))d", "abd")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := extended(pattern).match(name)
		if len(pattern) > 12 || len(name) > 12 || !utf8.ValidString(pattern) ||
			!utf8.ValidString(name) || strings.Contains(pattern, "(") {
			return
		}
		if want := NewWildcard(pattern).Match(name); got != want {
			t.Errorf("%q matches %q: %v, want %v", pattern, name, got, want)
		}
	})
}
