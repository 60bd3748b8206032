package spec

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFill(t *testing.T) {
	long := strings.Repeat("word ", 40)
	for _, text := range []string{fill("", long), fill("* ", long)} {
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > lineWidth ||
				n < lineWidth-12 && strings.HasSuffix(line, "\n") {
				t.Errorf("a line has %d characters: %q", n, line)
			}
		}
		if strings.Count(text, "word") != 40 {
			t.Errorf("words are missing: %q", text)
		}
	}
	if got := fill("* ", "a  b\nc"); got != "* a b c" {
		t.Errorf("fill is %q", got)
	}
	if got := fill("* ", strings.Repeat("x", 100)+" y"); got != "* "+strings.Repeat("x", 100)+
		"\n  y" {
		t.Errorf("a long word: %q", got)
	}
}
