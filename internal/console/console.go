package console

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/progress"
)

// Console is a command's output: results go to Out, everything else to Err.
type Console struct {
	Out, Err io.Writer
	terminal bool // err is a terminal: progress is one line that changes
	Color    bool
	JSON     bool // results are for programs
	Quiet    bool // no progress

	mu     sync.Mutex
	active map[string]progress.Event // tasks under way, by stage and name
	drawn  time.Time                 // when the status line was last drawn
	width  int                       // of the status line that stands there
}

// Std returns the console of the process: its standard output and standard error.
func Std() *Console {
	tty := term.IsTerminal(int(os.Stderr.Fd()))
	_, noColor := os.LookupEnv("NO_COLOR")
	return &Console{
		Out: os.Stdout, Err: os.Stderr, terminal: tty && os.Getenv("TERM") != "dumb",
		Color: tty && !noColor && os.Getenv("TERM") != "dumb",
	}
}

// redraw is the minimum time between two changes of the status line.
const redraw = 100 * time.Millisecond

// Progress receives events. On a terminal they update one status line; elsewhere, each finished
// task is printed as a line.
func (s *Console) Progress(e progress.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case e.Note != "":
		s.clear()
		prefix := ""
		if e.Warn {
			prefix = "warning: "
		}
		if !s.Quiet || e.Warn {
			fmt.Fprintf(s.Err, "%s%s\n", prefix, diag.Printable(e.Note))
		}
	case s.Quiet:
	case s.terminal:
		s.track(e)
	case e.Final && !e.Failed: // why it failed is the error that ends the command
		fmt.Fprintln(s.Err, diag.Printable(finished(e)))
	}
}

func finished(e progress.Event) string {
	if e.Bytes {
		return fmt.Sprintf("%s %s (%s)", e.Stage, e.Task, Size(e.Total))
	}
	return e.Stage + " " + e.Task
}

// track records the progress of a task and redraws the status line when due.
func (s *Console) track(e progress.Event) {
	if s.active == nil {
		s.active = map[string]progress.Event{}
	}
	key := e.Stage + " " + e.Task
	if e.Final {
		delete(s.active, key)
	} else {
		s.active[key] = e
	}
	if now := time.Now(); now.Sub(s.drawn) >= redraw {
		s.drawn = now
		s.draw()
	}
}

func (s *Console) draw() {
	var done, total int64
	var one progress.Event
	for _, e := range s.active {
		if e.Bytes {
			done, total = done+e.Done, total+e.Total
		}
		if one.Task == "" || e.Task < one.Task {
			one = e
		}
	}
	s.clear()
	if one.Task == "" {
		return
	}
	line := fmt.Sprintf("%s %s", one.Stage, one.Task)
	if n := len(s.active); n > 1 {
		line += fmt.Sprintf(" and %d more", n-1)
	}
	if total > 0 {
		line += fmt.Sprintf(": %s of %s (%d %%)", Size(done), Size(total), 100*done/total)
	}
	line = diag.Printable(line)
	if columns, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil && columns > 1 &&
		len(line) >= columns {
		line = line[:columns-1]
	}
	s.width = len(line)
	fmt.Fprint(s.Err, line)
}

// clear removes the status line.
func (s *Console) clear() {
	if s.width > 0 {
		fmt.Fprint(s.Err, "\r\x1b[K")
		s.width = 0
	}
}

// Finish leaves the terminal as a shell expects it.
func (s *Console) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	s.active = nil
}

// Print writes a result for a person. Commands with --json call PrintJSON instead.
func (s *Console) Print(format string, args ...any) {
	s.Finish()
	fmt.Fprintf(s.Out, format, args...)
}

// Next tells a person which commands come next. It is no result: a program, and someone who wants
// no more than the result, does not get it.
func (s *Console) Next(commands string) {
	if commands == "" || s.JSON || s.Quiet {
		return
	}
	s.Finish()
	fmt.Fprintf(s.Err, "next: %s\n", commands)
}

// List returns all, or an empty list for nil, which PrintJSON would write as null.
func List[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// PrintJSON writes a result for a program.
func (s *Console) PrintJSON(v any) error {
	s.Finish()
	enc := json.NewEncoder(s.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(v)
}

// PrintableMessages makes NUL-terminated messages safe for a terminal.
func PrintableMessages(s string) string {
	return diag.Printable(strings.ReplaceAll(s, "\x00", ""))
}

// Size formats a number of bytes for a person.
func Size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// Plural returns a count with its noun: "1 build", "2 builds".
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		what += "e"
	}
	return fmt.Sprintf("%d %ss", n, what)
}
