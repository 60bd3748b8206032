package rpmver

import (
	"cmp"
	"strings"
)

// Compare orders two versions, or two releases, as RPM does: -1 if a is older, +1 if it is newer, 0
// if RPM regards them as equal, which may hold for different strings ("1.0" and "1_0", "1.01" and
// "1.1").
//
// Runs of digits and runs of ASCII letters are compared one after another, digits as numbers of any
// length, letters by bytes; digits are newer than letters, and more runs are newer than fewer.
// Other characters only separate runs. A tilde is older than anything, even the end ("1.0~rc1" is
// older than "1.0"); a caret is newer than the end but older than any further run ("1.0" <
// "1.0^git1" < "1.0.1").
func Compare(a, b string) int {
	for {
		a, b = skipSeparators(a), skipSeparators(b)
		markA, markB := mark(a), mark(b)
		switch {
		case markA != markB:
			return compareMarks(a, b, markA, markB)
		case markA != 0:
			a, b = a[1:], b[1:]
			continue
		case a == "" || b == "":
			return cmp.Compare(min(len(a), 1), min(len(b), 1))
		}
		var order int
		if order, a, b = compareRuns(a, b); order != 0 {
			return order
		}
	}
}

// compareMarks decides if a and b differ in their first characters and at least one of these is a
// tilde or a caret.
func compareMarks(a, b string, markA, markB byte) int {
	switch {
	case markA == '~':
		return -1
	case markB == '~':
		return 1
	case a == "": // and b continues with a caret
		return -1
	case b == "":
		return 1
	case markA == '^':
		return -1
	}
	return 1
}

// compareRuns compares the leading run of digits or letters of a with the run of the same kind in
// b, and returns the rests. Neither string is empty; both begin with a digit or a letter.
func compareRuns(a, b string) (order int, restA, restB string) {
	kind := isLetter
	if isDigit(a[0]) {
		kind = isDigit
	}
	runA, restA := cut(a, kind)
	runB, restB := cut(b, kind)
	switch {
	case runB == "" && isDigit(a[0]):
		return 1, "", ""
	case runB == "":
		return -1, "", ""
	case isDigit(a[0]):
		runA, runB = strings.TrimLeft(runA, "0"), strings.TrimLeft(runB, "0")
		order = cmp.Compare(len(runA), len(runB))
	}
	return cmp.Or(order, cmp.Compare(runA, runB)), restA, restB
}

// skipSeparators returns s from its first digit, letter, tilde or caret on.
func skipSeparators(s string) string {
	for s != "" && !isDigit(s[0]) && !isLetter(s[0]) && mark(s) == 0 {
		s = s[1:]
	}
	return s
}

// mark returns the leading tilde or caret of s, or 0.
func mark(s string) byte {
	if s != "" && (s[0] == '~' || s[0] == '^') {
		return s[0]
	}
	return 0
}

// cut splits s after its leading bytes of that kind.
func cut(s string, kind func(byte) bool) (run, rest string) {
	n := 0
	for n < len(s) && kind(s[n]) {
		n++
	}
	return s[:n], s[n:]
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
