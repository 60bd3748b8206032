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

// maxLines is how many lines a scriptlet prints about processes that are not patched, and maxNamed
// how many processes one line names.
const (
	maxLines = 10
	maxNamed = 3
)

// Outcome is the result of a request. Its texts are safe to print on a terminal.
type Outcome struct {
	Summary engine.Summary
	// Nothing is the reason why no processes were examined, or "".
	Nothing string
	// Quiet means that Nothing is not worth reporting.
	Quiet bool
	// Notes are worth a line: files that were ignored, settings that were not understood, libraries
	// that were moved.
	Notes []string
	// Log has a line for each process that matters, and each note.
	Log []string

	mu      sync.Mutex
	revert  bool
	dry     bool // nothing was changed: the results are hypothetical
	noted   int  // processes whose opt-out is ignored
	reasons map[reason]*group
}

// reason is why processes are not patched.
type reason struct {
	status  engine.Status
	left    bool // a live patch is for the process
	remains bool // and it is root's, or has rights that the user who started it lacks
	text    string
}

// group holds the processes with one reason.
type group struct {
	count int
	names []string // the first few, with their PIDs
}

// note adds a note.
func (o *Outcome) note(format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	o.Notes, o.Log = append(o.Notes, text), append(o.Log, text)
}

// add adds a process.
func (o *Outcome) add(rep *engine.Report) {
	o.mu.Lock()
	defer o.mu.Unlock()
	who := printable(fmt.Sprintf("%s (%d)", cmp.Or(rep.Name, "?"), rep.PID))
	if rep.Note != "" {
		o.Log = append(o.Log, fmt.Sprintf("%s: %s", who, printable(rep.Note)))
		o.noted++
	}
	if rep.Late {
		o.Log = append(o.Log, fmt.Sprintf("%s: stopped for %s, longer than LIVEPATCH_MAX_STOP",
			who, diag.Duration(rep.Stop)))
	}
	if rep.Err != nil {
		o.count(rep, rep.Err, who)
		o.Log = append(o.Log, fmt.Sprintf("%s: %s: %s", who, rep.Status,
			printable(rep.Err.Error())))
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

// why returns the reason without the details that differ between processes, so that processes can
// be counted by it.
func why(err error) string {
	for _, general := range []error{
		errOwnRoot, engine.ErrBuildID, engine.ErrNotLoaded, engine.ErrBlocked, engine.ErrVfork,
		engine.ErrShared, engine.ErrPermission, engine.ErrDeadline,
	} {
		if errors.Is(err, general) {
			return general.Error()
		}
	}
	return err.Error()
}

// Lines returns what a scriptlet prints: the summary, and at most ten lines on processes that are
// not patched and why. Privileged processes that keep the unpatched library come first: however
// many reasons others have, these are named. Within both groups failures come first, then processes
// that have the library and were skipped, and of each kind the most frequent.
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
	line := fmt.Sprintf("Processes %s: %d, Skipped: %d, Failed: %d.", verb, s.Changed, s.Skipped,
		s.Failed)
	if o.dry { // scripts count by the other summary line, and nothing was done
		line = fmt.Sprintf("Dry run, processes that would be %s: %d, skipped: %d, failed: %d.",
			verb, s.Changed, s.Skipped, s.Failed)
	}
	if s.Already > 0 {
		line += fmt.Sprintf(" In %d: %s.", s.Already, already)
	}
	lines = append(lines, line)
	details := slices.Clone(o.Notes)
	if o.noted > 0 {
		details = append(details, fmt.Sprintf("opt-outs ignored, of processes that run with "+
			"rights that the user who started them lacks: %d", o.noted))
	}
	if s.Late > 0 {
		details = append(details, fmt.Sprintf("processes stopped for longer than "+
			"LIVEPATCH_MAX_STOP: %d, the longest for %s", s.Late, diag.Duration(s.LongestStop)))
	}
	details = append(o.reasonLines(true), append(details, o.reasonLines(false)...)...)
	if more := len(details) - maxLines; more > 0 {
		details = append(details[:maxLines-1], fmt.Sprintf("and %d more lines, in the log", more+1))
	}
	return append(lines, details...)
}

// reasonLines returns a line for each reason, either of privileged processes that remain unpatched
// or of all others.
func (o *Outcome) reasonLines(remains bool) []string {
	keys := make([]reason, 0, len(o.reasons))
	for key := range o.reasons {
		if key.remains == remains {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b reason) int {
		return cmp.Or(cmp.Compare(b.status, a.status), compareBool(b.left, a.left),
			cmp.Compare(o.reasons[b].count, o.reasons[a].count), cmp.Compare(a.text, b.text))
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

// compareBool sorts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// printable turns s into one line that a terminal prints as text.
func printable(s string) string { return strings.Join(strings.Fields(diag.Printable(s)), " ") }
