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

// changesTime is the layout of `LC_ALL=POSIX date -u`; the day is padded with a blank.
const changesTime = "Mon Jan _2 15:04:05 UTC 2006"

// maxChanges bounds a changes file, in bytes.
const maxChanges = 16 << 20

// Entry is one entry of a .changes file.
type Entry struct {
	Time   time.Time // UTC, to the second
	Author string    // "Name <mail>"
	Text   string    // one or more lines, the first of each item beginning with "- "
}

// changesError is a syntax error in a changes file.
type changesError struct {
	Line int
	Msg  string
}

func (e *changesError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// String returns the entry in the format of the file.
func (e Entry) String() string {
	return separator + "\n" + e.Time.UTC().Format(changesTime) + " - " + e.Author + "\n\n" +
		strings.TrimRight(e.Text, "\n") + "\n\n"
}

var headline = lazyregexp.New(`^(\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d) (\w+ )?(\d{4}) - (.*)$`)

// ParseChanges parses a changes file: entries, newest first. An empty file has none.
func ParseChanges(text string) ([]Entry, error) {
	if len(text) > maxChanges {
		return nil, &changesError{1, fmt.Sprintf("more than %d bytes", maxChanges)}
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
				return nil, &changesError{i + 1, "an entry must begin with a line of 67 dashes"}
			}
			body = append(body, line)
			continue
		}
		finish()
		i++
		if i == len(lines) {
			return nil, &changesError{i, "the file ends where a date and an author are expected"}
		}
		e, err := parseHeadline(strings.TrimRight(lines[i], "\r"))
		if err != nil {
			return nil, &changesError{i + 1, err.Error()}
		}
		if n := len(entries); n > 0 && e.Time.After(entries[n-1].Time) {
			return nil, &changesError{i + 1, "this entry is newer than the one above it: the " +
				"newest must come first"}
		}
		entries = append(entries, e)
	}
	finish()
	return entries, nil
}

func parseHeadline(line string) (Entry, error) {
	m := headline().FindStringSubmatch(line)
	if m == nil {
		return Entry{}, fmt.Errorf("%.100q does not have the form \"Mon Jan  2 15:04:05 UTC 2006 "+
			"- Name <mail>\"", line)
	}
	if zone := strings.TrimSpace(m[2]); zone != "UTC" && zone != "GMT" {
		return Entry{}, fmt.Errorf("the time has the zone %q: write it in UTC", zone)
	}
	t, err := time.Parse("Mon Jan _2 15:04:05 2006", m[1]+" "+m[3])
	if err != nil {
		return Entry{}, fmt.Errorf("%q is not a date", m[1]+" "+m[3])
	}
	return Entry{Time: t.UTC(), Author: m[4]}, nil
}

// ReadChanges reads a changes file with at least one entry, whose time becomes that of everything
// in the archive.
func ReadChanges(name string) ([]Entry, error) {
	text, err := regularfile.Read(name, maxChanges)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no changes file: describe the package with: lpbuild "+
			"changes add \"text\"", name)
	}
	if err != nil {
		return nil, err
	}
	entries, err := ParseChanges(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s: there is no entry: describe the change with: lpbuild changes "+
			"add \"text\"", name)
	}
	return entries, nil
}

// AddChange adds an entry at the top of the file, which it creates if necessary. Text without a
// leading dash gets one.
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
		return fmt.Errorf("%s: the newest entry, of %s, is later than the new one, of %s", name,
			entries[0].Time.Format(changesTime), e.Time.UTC().Format(changesTime))
	}
	if err := e.Check(); err != nil {
		return err
	}
	if e.Text = strings.TrimSpace(e.Text); !strings.HasPrefix(e.Text, "- ") {
		e.Text = "- " + strings.ReplaceAll(e.Text, "\n", "\n  ")
	}
	text := e.String() + string(former)
	// a year of more than four digits, or too much text
	if _, err := ParseChanges(text); err != nil {
		return fmt.Errorf("%s would no longer be a valid changes file: %w", name, err)
	}
	return atomicfile.Write(name, []byte(text), 0o644)
}

// Check rejects entries that would not be parsed as one entry, or that would control the reader's
// terminal.
func (e Entry) Check() error {
	isControl := func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f
	}
	switch {
	case strings.TrimSpace(e.Author) == "" || strings.ContainsAny(e.Author, "\n\t") ||
		strings.ContainsFunc(e.Author, isControl):
		return fmt.Errorf("the author %q is not one line of text", e.Author)
	case strings.TrimSpace(strings.TrimLeft(e.Text, "- \n\t")) == "":
		return errors.New("the text is empty: say what changed for the customer")
	case strings.ContainsFunc(e.Text, isControl) || !utf8.ValidString(e.Text) ||
		!utf8.ValidString(e.Author):
		return errors.New("the text contains control characters")
	case strings.Contains(e.Text, separator):
		return errors.New("the text contains a line of dashes, which would begin another entry")
	}
	return nil
}
