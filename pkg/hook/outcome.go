package hook

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// maxLines is how many lines a scriptlet prints of what is not patched, and maxNamed how many processes one of them names.
const (
	maxLines = 10
	maxNamed = 3
)

// Outcome is what became of a request. Its texts are fit for a terminal.
type Outcome struct {
	Summary engine.Summary
	// Nothing says that there was nothing to look at, and why; "" if processes were looked at.
	Nothing string
	// Quiet says that Nothing is not worth a word.
	Quiet bool
	// Notes are what is worth a line: files that were left out, settings that were not understood, libraries that were moved.
	Notes []string
	// Log has a line for each process that is concerned, and each note.
	Log []string

	mu      sync.Mutex
	revert  bool
	dry     bool // nothing was changed: all of it is what would be
	noted   int  // processes whose opt-out is ignored
	reasons map[reason]*group
}

// reason is why processes are not patched.
type reason struct {
	status  engine.Status
	left    bool // a live patch is for the process
	remains bool // and it is root's, or has other rights than those of the user who started it
	text    string
}

// group are the processes that have one reason.
type group struct {
	count int
	names []string // the first few, with their PIDs
}

// note adds a note.
func (o *Outcome) note(format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	o.Notes, o.Log = append(o.Notes, text), append(o.Log, text)
}

// add takes in a process.
func (o *Outcome) add(rep *engine.Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	who := printable(fmt.Sprintf("%s (%d)", cmp.Or(rep.Name, "?"), rep.PID))
	if rep.Note != "" {
		o.Log = append(o.Log, fmt.Sprintf("%s: %s", who, printable(rep.Note)))
		o.noted++
	}
	if rep.Late {
		o.Log = append(o.Log, fmt.Sprintf("%s: stood still for %s, longer than LIVEPATCH_MAX_STOP", who, diag.Duration(rep.Stop)))
	}
	if rep.Err != nil {
		o.count(rep, rep.Err, who)
		o.Log = append(o.Log, fmt.Sprintf("%s: %s: %s", who, rep.Status, printable(rep.Err.Error())))
	}
	var worst error
	for _, result := range rep.Results {
		line := fmt.Sprintf("%s: %s: %s", who, result.Step, result.Status)
		if o.dry && result.Status == engine.Changed {
			line = fmt.Sprintf("%s: %s: would be done", who, result.Step)
		}
		if result.Err != nil {
			line += ": " + result.Err.Error()
			if result.Status == rep.Status && worst == nil {
				worst = result.Err
			}
		}
		o.Log = append(o.Log, printable(line))
	}
	if worst != nil && rep.Err == nil {
		o.count(rep, worst, who)
	}
}

// count counts a process that is not patched.
func (o *Outcome) count(rep *engine.Report, err error, who string) {
	if rep.Status != engine.Skipped && rep.Status != engine.Failed && rep.Status != engine.Unsure {
		return
	}
	if o.reasons == nil {
		o.reasons = map[reason]*group{}
	}
	key := reason{rep.Status, rep.Left, rep.Remains(), printable(why(err))}
	g := o.reasons[key]
	if g == nil {
		g = &group{}
		o.reasons[key] = g
	}
	if g.count++; len(g.names) < maxNamed {
		g.names = append(g.names, who)
	}
}

// why returns the reason without what is different for each process, so that processes can be counted by it.
func why(err error) string {
	for _, general := range []error{
		errOwnRoot, engine.ErrBuildID, engine.ErrNotLoaded, engine.ErrBlocked, engine.ErrVfork, engine.ErrShared, engine.ErrPermission, engine.ErrDeadline,
	} {
		if errors.Is(err, general) {
			return general.Error()
		}
	}
	return err.Error()
}

// Lines returns what a scriptlet prints: the summary, and at most ten lines of what is not patched and why. Privileged processes
// that keep the library as it is come first: however many reasons others have, they are named. Of these and of the others what
// failed comes first, then what has the library and was skipped, and of each the most frequent.
func (o *Outcome) Lines() []string {
	var lines []string
	if o.Nothing != "" {
		if !o.Quiet {
			lines = append(lines, "Live patches are not applied here: "+printable(o.Nothing))
		}
		return append(lines, o.Notes[:min(len(o.Notes), maxLines)]...)
	}
	verb, already := "patched", "already applied"
	if o.revert {
		verb, already = "reverted", "not applied anyway"
	}
	s := &o.Summary
	line := fmt.Sprintf("Processes %s: %d, Skipped: %d, Failed: %d.", verb, s.Changed, s.Skipped, s.Failed)
	if o.dry { // scripts count by the other line, and nothing was done
		line = fmt.Sprintf("Dry run, processes that would be %s: %d, skipped: %d, failed: %d.", verb, s.Changed, s.Skipped, s.Failed)
	}
	if s.Already > 0 {
		line += fmt.Sprintf(" In %d: %s.", s.Already, already)
	}
	lines = append(lines, line)
	details := slices.Clone(o.Notes)
	if o.noted > 0 {
		details = append(details, fmt.Sprintf("opt-outs ignored, of processes that run with other rights than those of the user who started them: %d", o.noted))
	}
	if s.Late > 0 {
		details = append(details, fmt.Sprintf("processes that stood still for longer than LIVEPATCH_MAX_STOP: %d, the longest for %s",
			s.Late, diag.Duration(s.LongestStop)))
	}
	details = append(o.reasonLines(true), append(details, o.reasonLines(false)...)...)
	if more := len(details) - maxLines; more > 0 {
		details = append(details[:maxLines-1], fmt.Sprintf("and %d lines more, in the log", more+1))
	}
	return append(lines, details...)
}

// reasonLines returns a line for each reason of privileged processes that remain as they are, or of all others.
func (o *Outcome) reasonLines(remains bool) []string {
	keys := make([]reason, 0, len(o.reasons))
	for key := range o.reasons {
		if key.remains == remains {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b reason) int {
		return cmp.Or(cmp.Compare(b.status, a.status), compareBool(b.left, a.left), cmp.Compare(o.reasons[b].count, o.reasons[a].count), cmp.Compare(a.text, b.text))
	})
	lines := make([]string, 0, len(keys))
	for _, key := range keys {
		g := o.reasons[key]
		who := strings.Join(g.names, ", ")
		if more := g.count - len(g.names); more > 0 {
			who += fmt.Sprintf(" and %d more", more)
		}
		lines = append(lines, fmt.Sprintf("%s: %s: %s", key.status, who, key.text))
	}
	return lines
}

// compareBool puts false in front of true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// printable makes one line of it that a terminal takes for text.
func printable(s string) string { return strings.Join(strings.Fields(diag.Printable(s)), " ") }
