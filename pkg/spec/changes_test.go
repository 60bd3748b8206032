package spec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

const someChanges = `-------------------------------------------------------------------
Mon Nov  2 09:03:07 UTC 2026 - Jane Doe <jane@example.com>

- Fix CVE-2026-0002 (bsc#2)
  and what came with it
- Drop the fix for bsc#1

-------------------------------------------------------------------
Thu Oct 15 12:00:00 UTC 2026 - Joe <joe@example.com>

- First version

`

func TestParseChanges(t *testing.T) {
	got, err := ParseChanges(someChanges)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{time.Date(2026, 11, 2, 9, 3, 7, 0, time.UTC), "Jane Doe <jane@example.com>",
			"- Fix CVE-2026-0002 (bsc#2)\n  and what came with it\n- Drop the fix for bsc#1"},
		{time.Date(2026, 10, 15, 12, 0, 0, 0, time.UTC), "Joe <joe@example.com>",
			"- First version"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("ParseChanges (-want +got):\n%s", d)
	}
	var text strings.Builder
	for _, e := range got {
		text.WriteString(e.String())
	}
	if d := cmp.Diff(someChanges, text.String()); d != "" {
		t.Errorf("printed again (-want +got):\n%s", d)
	}
}

func TestParseChangesErrors(t *testing.T) {
	line := separator + "\n"
	tests := map[string]struct {
		text string
		line int
		want string
	}{
		"text before the first entry": {"- Hello\n" + someChanges, 1, "67 dashes"},
		"no date":                     {line + "- Hello\n", 2, "does not have the form"},
		"end of file":                 {separator, 1, "the file ends"},
		"local time": {line + "Mon Nov  2 09:03:07 CET 2026 - J <j@x>\n", 2,
			`zone "CET"`},
		"no such day": {line + "Mon Nov 35 09:03:07 UTC 2026 - J <j@x>\n", 2,
			"is not a date"},
		"oldest first": {strings.Replace(someChanges, "2026 - Joe", "2027 - Joe", 1),
			9, "newest must come first"},
	}
	for name, tc := range tests {
		got, err := ParseChanges(tc.text)
		var ce *changesError
		if got != nil || !errors.As(err, &ce) || ce.Line != tc.line ||
			!strings.Contains(ce.Msg, tc.want) {
			t.Errorf("%s: %v, %v; want line %d: %s", name, got, err, tc.line, tc.want)
		}
	}
}

func TestAddChange(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.changes")
	first := Entry{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "J <j@x>", "One thing"}
	second := Entry{first.Time.Add(time.Hour), "J <j@x>", "- Two\n- things"}
	for _, e := range []Entry{first, second} {
		if err := AddChange(name, e); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := separator + "\nFri Jan  2 04:04:05 UTC 2026 - J <j@x>\n\n- Two\n- things\n\n" +
		separator + "\nFri Jan  2 03:04:05 UTC 2026 - J <j@x>\n\n- One thing\n\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("file (-want +got):\n%s", d)
	}
	if err := AddChange(name, first); err == nil {
		t.Error("an entry older than the newest one was added before it")
	}
}

// TestAddChangeRefuses rejects an entry and leaves the file as it was.
func TestAddChangeRefuses(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	name := filepath.Join(t.TempDir(), "x.changes")
	if err := AddChange(name, Entry{now, "J <j@x>", "One"}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, tc := range map[string]struct {
		e    Entry
		want string
	}{
		"older than the newest": {Entry{now.Add(-time.Second), "J <j@x>", "- x"},
			"later than the new one"},
		"an author of two lines": {Entry{now, "J\nX", "- x"}, "not one line"},
		"no author":              {Entry{now, " ", "- x"}, "not one line"},
		"no text":                {Entry{now, "J <j@x>", " \n"}, "text is empty"},
		"a dash alone":           {Entry{now, "J <j@x>", "- "}, "text is empty"},
		"a line of dashes": {Entry{now, "J <j@x>", "x\n" + separator + "\ny"},
			"line of dashes"},
		"an escape sequence":       {Entry{now, "J <j@x>", "- \x1b[2J"}, "control characters"},
		"bytes that are not UTF-8": {Entry{now, "J <j@x>", "- \xff"}, "control characters"},
		"a year of more than 4 dig": {Entry{now.AddDate(9000, 0, 0), "J <j@x>", "- x"},
			"no longer be a valid changes file"},
	} {
		if err := AddChange(name, tc.e); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", what, err, tc.want)
		}
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(before) {
		t.Errorf("the file is now %q, %v", after, err)
	}
}

func TestReadChangesWithoutEntry(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.changes")
	if _, err := ReadChanges(name); err == nil ||
		!strings.Contains(err.Error(), "lpbuild changes add") {
		t.Errorf("a missing file gives %v", err)
	}
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadChanges(name); err == nil ||
		!strings.Contains(err.Error(), "lpbuild changes add") {
		t.Errorf("an empty file gives %v", err)
	}
}

func FuzzParseChanges(f *testing.F) {
	f.Add(someChanges)
	f.Add(separator)
	f.Add(separator + "\n" + separator + "\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := ParseChanges(text)
		if err != nil {
			if entries != nil {
				t.Fatal("got both entries and an error")
			}
			return
		}
		var printed strings.Builder
		for _, e := range entries {
			printed.WriteString(e.String())
		}
		again, err := ParseChanges(printed.String())
		if err != nil {
			t.Fatalf("the printed file cannot be parsed: %v\n%s", err, printed.String())
		}
		if d := cmp.Diff(entries, again); d != "" {
			t.Fatalf("printing changed it:\n%s", d)
		}
	})
}

// TestChangesFIFO does not block on a FIFO in place of the file.
func TestChangesFIFO(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lp.changes")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadChanges(name); !errors.Is(err, regularfile.ErrIrregular) {
		t.Errorf("ReadChanges: %v", err)
	}
	if err := AddChange(name, Entry{Text: "- x"}); !errors.Is(err, regularfile.ErrIrregular) {
		t.Errorf("AddChange: %v", err)
	}
}
