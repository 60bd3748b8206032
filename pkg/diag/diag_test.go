package diag

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRender(t *testing.T) {
	d := &Diagnostic{
		Pos: Pos{"a.dsc", 3, 5}, Length: 3, Source: "one:two",
		Message: "symbol \"two\" is not there", Hint: "did you mean \"too\"?",
	}
	want := "a.dsc:3:5: error: symbol \"two\" is not there\n    one:two\n        ^~~\n  hint: " +
		"did you mean \"too\"?\n"
	if diff := cmp.Diff(want, d.Render(false)); diff != "" {
		t.Errorf("Render (-want +got):\n%s", diff)
	}
	if got := d.Error(); got != "a.dsc:3:5: error: symbol \"two\" is not there" {
		t.Errorf("Error is %q", got)
	}
	if colored := d.Render(true); !strings.Contains(colored, "\x1b[1;31m    ^~~\x1b[0m") {
		t.Errorf("%q has no colour", colored)
	}
}

// TestRenderHintsOnce checks that findings in a row with the same hint have it once, below the
// last.
func TestRenderHintsOnce(t *testing.T) {
	list := List{{Message: "one", Hint: "do this"}, {Message: "two", Hint: "do this"},
		{Message: "three", Hint: "do that"}}
	want := "error: one\nerror: two\n  hint: do this\nerror: three\n  hint: do that\n"
	if diff := cmp.Diff(want, Render(list, false)); diff != "" {
		t.Errorf("Render (-want +got):\n%s", diff)
	}
	if list[0].Hint != "do this" {
		t.Error("Render changed a finding")
	}
}

// TestCaret puts the caret under the marked text, whatever is before it.
func TestCaret(t *testing.T) {
	tests := map[string]struct {
		source      string
		column, len int
		want        string
	}{
		"plain":           {"abc def", 5, 3, "    ^~~"},
		"tab":             {"\tabc", 2, 3, "    ^~~"},
		"umlauts":         {"äö: x", 7, 1, "    ^"},
		"beyond the line": {"ab", 9, 5, "  ^"},
		"too long":        {"abc", 2, 99, " ^~"},
		"no length":       {"abc", 1, 0, "^"},
	}
	for name, tc := range tests {
		d := &Diagnostic{Pos: Pos{"f", 1, tc.column}, Length: tc.len, Source: tc.source}
		if got := d.caret(); got != tc.want {
			t.Errorf("%s: the caret line is %q, want %q", name, got, tc.want)
		}
	}
}

// TestRenderHidesControls lets no text control the terminal.
func TestRenderHidesControls(t *testing.T) {
	d := &Diagnostic{Pos: Pos{"f", 1, 1}, Source: "a\x1b[2Jb", Message: "bad \x07\xff"}
	if got := d.Render(false); strings.ContainsAny(got, "\x1b\x07") ||
		strings.Contains(got, "\xff") || !strings.Contains(got, `\x1b[2J`) {
		t.Errorf("Render returns %q", got)
	}
}

func TestListErr(t *testing.T) {
	if err := (List{}).Err(); err != nil {
		t.Errorf("an empty list is the error %v", err)
	}
	reason := errors.New("reason")
	l := List{{Pos: Pos{"f", 9, 1}, Message: "second"},
		{Pos: Pos{"f", 2, 1}, Message: "first", Err: reason}}
	err := fmt.Errorf("wrapped: %w", l.Err())
	if !errors.Is(err, reason) {
		t.Error("the typed reason is lost")
	}
	if got := Render(err, false); strings.Index(got, "first") > strings.Index(got, "second") {
		t.Errorf("not in the order of positions:\n%s", got)
	}
	if got := Render(errors.New("plain"), false); got != "error: plain\n" {
		t.Errorf("Render of a plain error is %q", got)
	}
}

func TestLine(t *testing.T) {
	text := []byte("one\ntwo\r\nthree")
	for n, want := range map[int]string{0: "", 1: "one", 2: "two", 3: "three", 4: ""} {
		if got := Line(text, n); got != want {
			t.Errorf("line %d is %q, want %q", n, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"malloc_lp", "calloc_lp", "free_lp", "malloc_lpp", "realloc"}
	if d := cmp.Diff([]string{"malloc_lp", "calloc_lp", "malloc_lpp"},
		Nearest("malloc_l", names, 3)); d != "" {
		t.Errorf("Nearest (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"build"}, Nearest("buidl", []string{"build", "bundle"}, 3)); d != "" {
		t.Errorf("Nearest, two letters swapped (-want +got):\n%s", d)
	}
	if got := Nearest("zzzzzz", names, 3); len(got) != 0 {
		t.Errorf("Nearest to an unlike name: %q", got)
	}
}
