package spec

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/lazyregexp"
	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// separator begins each entry of a changes file: 67 dashes.
const separator = "-------------------------------------------------------------------"

// changesTime is how `LC_ALL=POSIX date -u` writes a moment; the day is padded with a blank.
const changesTime = "Mon Jan _2 15:04:05 UTC 2006"

// maxChanges bounds a changes file, in bytes.
const maxChanges = 16 << 20

// Entry is one entry of a .changes file.
type Entry struct {
	Time   time.Time // UTC, to the second
	Author string    // "Name <mail>"
	Text   string    // one or several lines, the first of each item beginning with "- "
}

// ChangesError says where a changes file is not one.
type ChangesError struct {
	Line int
	Msg  string
}

func (e *ChangesError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// String returns the entry as it stands in the file.
func (e Entry) String() string {
	return separator + "\n" + e.Time.UTC().Format(changesTime) + " - " + e.Author + "\n\n" + strings.TrimRight(e.Text, "\n") + "\n\n"
}

var headline = lazyregexp.New(`^(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d) (\w+ )?(\d{4}) - (.*)$`)

// ParseChanges reads a changes file: entries, newest first. An empty file has none.
func ParseChanges(text string) ([]Entry, error) {
	if len(text) > maxChanges {
		return nil, &ChangesError{1, fmt.Sprintf("more than %d bytes", maxChanges)}
	}
	var entries []Entry
	var body []string
	finish := func() {
		if n := len(entries); n > 0 {
			entries[n-1].Text = strings.Trim(strings.Join(body, "\n"), "\n")
		}
		body = nil
	}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], "\r")
		if line != separator {
			if len(entries) == 0 && strings.TrimSpace(line) != "" {
				return nil, &ChangesError{i + 1, "an entry begins with a line of 67 dashes"}
			}
			body = append(body, line)
			continue
		}
		finish()
		i++
		if i == len(lines) {
			return nil, &ChangesError{i, "the file ends where date and author belong"}
		}
		e, err := parseHeadline(strings.TrimRight(lines[i], "\r"))
		if err != nil {
			return nil, &ChangesError{i + 1, err.Error()}
		}
		if n := len(entries); n > 0 && e.Time.After(entries[n-1].Time) {
			return nil, &ChangesError{i + 1, "this entry is newer than the one above it: the newest comes first"}
		}
		entries = append(entries, e)
	}
	finish()
	return entries, nil
}

func parseHeadline(line string) (Entry, error) {
	m := headline().FindStringSubmatch(line)
	if m == nil {
		return Entry{}, fmt.Errorf("%.100q is not like \"Mon Jan  2 15:04:05 UTC 2006 - Name <mail>\"", line)
	}
	if zone := strings.TrimSpace(m[2]); zone != "UTC" && zone != "GMT" {
		return Entry{}, fmt.Errorf("the time is in zone %q: write it in UTC", zone)
	}
	t, err := time.Parse("Mon Jan _2 15:04:05 2006", m[1]+" "+m[3])
	if err != nil {
		return Entry{}, fmt.Errorf("%q is not a date", m[1]+" "+m[3])
	}
	return Entry{Time: t.UTC(), Author: m[4]}, nil
}

// ReadChanges reads a changes file and insists on at least one entry: its time becomes that of everything in the archive.
func ReadChanges(name string) ([]Entry, error) {
	text, err := regularfile.Read(name, maxChanges)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no changes file: say what the package is for with: lpbuild changes add \"text\"", name)
	}
	if err != nil {
		return nil, err
	}
	entries, err := ParseChanges(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s: no entry: say what changed with: lpbuild changes add \"text\"", name)
	}
	return entries, nil
}

// AddChange puts an entry before those that the file has; a missing file is made. Text without a leading dash gets one.
func AddChange(name string, e Entry) error {
	former, err := regularfile.Read(name, maxChanges)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	entries, err := ParseChanges(string(former))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(entries) > 0 && entries[0].Time.After(e.Time) {
		return fmt.Errorf("%s: the newest entry is of %s, in the future of %s", name, entries[0].Time.Format(changesTime), e.Time.UTC().Format(changesTime))
	}
	if err := e.Check(); err != nil {
		return err
	}
	if e.Text = strings.TrimSpace(e.Text); !strings.HasPrefix(e.Text, "- ") {
		e.Text = "- " + strings.ReplaceAll(e.Text, "\n", "\n  ")
	}
	text := e.String() + string(former)
	if _, err := ParseChanges(text); err != nil { // a year that four digits cannot hold, or too much
		return fmt.Errorf("%s would not be a changes file any more: %w", name, err)
	}
	return atomicfile.Write(name, []byte(text), 0o644)
}

// Check refuses what would not be one entry, or would steer the terminal of whoever reads it.
func (e Entry) Check() error {
	isControl := func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f }
	switch {
	case strings.TrimSpace(e.Author) == "" || strings.ContainsAny(e.Author, "\n\t") || strings.ContainsFunc(e.Author, isControl):
		return fmt.Errorf("the author %q is not one line of text", e.Author)
	case strings.TrimSpace(strings.TrimLeft(e.Text, "- \n\t")) == "":
		return errors.New("there is no text: say what changed for the customer")
	case strings.ContainsFunc(e.Text, isControl) || !utf8.ValidString(e.Text) || !utf8.ValidString(e.Author):
		return errors.New("the text has control characters in it")
	case strings.Contains(e.Text, separator):
		return errors.New("the text must not contain a line of dashes: it would begin another entry")
	}
	return nil
}
