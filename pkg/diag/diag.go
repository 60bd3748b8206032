// Package diag shows errors in a text that a user wrote, as a good compiler does: the position, the
// line, a caret and a hint.
//
// Live patch descriptions and the configuration share it. It only carries and prints findings; it
// neither parses nor decides.
package diag

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Pos is a position in a text. The zero Pos means "nowhere in particular".
type Pos struct {
	File   string // as the user named it
	Line   int    // from 1
	Column int    // from 1, in bytes
}

// String returns "file:line:column", without unknown parts.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Diagnostic is one finding. It is an error whose Error method returns a single line; Render adds
// the source line.
type Diagnostic struct {
	Pos
	Length  int    // bytes that the caret line underlines from Column on; 0 and 1 give a lone caret
	Source  string // the text of the line, without its line end; "" leaves the caret out
	Message string
	Hint    string // how to fix it; optional
	Err     error  // the typed reason, for callers that decide by it; optional
}

// Error returns "file:line:column: error: message".
func (d *Diagnostic) Error() string {
	if pos := d.String(); pos != "" {
		return pos + ": error: " + d.Message
	}
	return "error: " + d.Message
}

// Unwrap returns the typed reason.
func (d *Diagnostic) Unwrap() error { return d.Err }

// Render returns the finding for the user, on several lines, each ended by a newline.
func (d *Diagnostic) Render(color bool) string {
	var b strings.Builder
	bold, red, plain := paint(color)
	if pos := d.String(); pos != "" {
		b.WriteString(bold + pos + ": " + plain)
	}
	b.WriteString(red + "error: " + plain + Printable(d.Message) + "\n")
	if d.Source != "" && d.Column > 0 {
		b.WriteString("    " + Printable(expandTabs(d.Source)) + "\n")
		b.WriteString("    " + red + d.caret() + plain + "\n")
	}
	if d.Hint != "" {
		b.WriteString("  hint: " + Printable(d.Hint) + "\n")
	}
	return b.String()
}

// caret returns spaces up to the column, a caret, and tildes under the rest of the marked text.
func (d *Diagnostic) caret() string {
	col := min(d.Column-1, len(d.Source))
	rest := d.Source[col:]
	length := max(1, min(d.Length, len(rest)))
	width := utf8.RuneCountInString(rest[:min(length, len(rest))])
	return strings.Repeat(" ", utf8.RuneCountInString(expandTabs(d.Source[:col]))) +
		"^" + strings.Repeat("~", max(0, width-1))
}

// List holds the findings of one text, in the order of their positions. It is an error unless it is
// empty: see Err.
type List []*Diagnostic

// Error returns the findings, one per line.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, d := range l {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the findings as errors.
func (l List) Unwrap() []error {
	errs := make([]error, len(l))
	for i, d := range l {
		errs[i] = d
	}
	return errs
}

// Err returns the list sorted by position, or nil if there is no finding.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	slices.SortStableFunc(l, func(a, b *Diagnostic) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column))
	})
	return l
}

// Render returns err for the user: findings with their source lines, any other error on a line of
// its own.
func Render(err error, color bool) string {
	if list, ok := errors.AsType[List](err); ok {
		var b strings.Builder
		for i, d := range list {
			if i+1 < len(list) && list[i+1].Hint == d.Hint {
				alone := *d
				alone.Hint = "" // it stands below the last of the findings that have it
				d = &alone
			}
			b.WriteString(d.Render(color))
		}
		return b.String()
	}
	if d, ok := errors.AsType[*Diagnostic](err); ok {
		return d.Render(color)
	}
	_, red, plain := paint(color)
	return red + "error: " + plain + Printable(err.Error()) + "\n"
}

// Line returns the text of line n (from 1) without its line end, or "" if there is no such line.
func Line(text []byte, n int) string {
	for i := 1; len(text) > 0; i++ {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		if i == n {
			return strings.TrimSuffix(string(line), "\r")
		}
		text = rest
	}
	return ""
}

// Nearest returns up to most of the names that a user may have meant by name, best first.
func Nearest(name string, names []string, most int) []string {
	type scored struct {
		name  string
		score int
	}
	var found []scored
	limit := max(1, min(len(name)/3, 4))
	for _, n := range names {
		if d := distance(name, n, limit); d <= limit {
			found = append(found, scored{n, d})
		}
	}
	slices.SortStableFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.name, b.name))
	})
	var best []string
	for _, f := range found {
		if len(best) == most {
			break
		}
		if !slices.Contains(best, f.name) {
			best = append(best, f.name)
		}
	}
	return best
}

// distance returns the number of edits from a to b (insert, delete or replace a byte, or swap two
// neighbours), or limit+1 as soon as it exceeds limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	former, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		best := i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, next[j]+1, row[j+1]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], former[j-1]+1)
			}
			best = min(best, next[j+1])
		}
		if best > limit {
			return limit + 1
		}
		former, row, next = row, next, former
	}
	return row[len(b)]
}

// Printable returns s with everything that could control a terminal shown as an escape; newlines
// and tabs stay.
func Printable(s string) string {
	ok := func(r rune) bool {
		return r == '\n' || r == '\t' || r != utf8.RuneError && r >= 0x20 && (r < 0x7f || r > 0x9f)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case ok(r):
			b.WriteRune(r)
		case r == utf8.RuneError:
			fmt.Fprintf(&b, "\\x%02x", s[i])
		default:
			fmt.Fprintf(&b, "\\x%02x", r)
		}
	}
	return b.String()
}

func expandTabs(s string) string { return strings.ReplaceAll(s, "\t", "    ") }

func paint(color bool) (bold, red, plain string) {
	if !color {
		return "", "", ""
	}
	return "\x1b[1m", "\x1b[1;31m", "\x1b[0m"
}
