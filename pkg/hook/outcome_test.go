package hook

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestLines counts processes by the reason why they are not patched, the worst first.
func TestLines(t *testing.T) {
	o := &Outcome{Summary: engine.Summary{Changed: 2, Already: 3, Skipped: 5, Failed: 1}}
	for pid := range 5 {
		o.add(&engine.Report{PID: pid, Name: "sshd", Status: engine.Skipped,
			Err: engine.ErrNoEngine})
	}
	o.add(&engine.Report{PID: 7, Name: "db\n\x1b[31m", Status: engine.Failed,
		Results: []engine.Result{
			{Step: engine.Step{Kind: engine.RevertAll, Library: "l"}, Status: engine.Changed},
			{Step: engine.Step{Kind: engine.RevertAll, Library: "l"}, Status: engine.Failed,
				Err: engine.ErrDeadline},
		}})
	o.add(&engine.Report{PID: 8, Name: "fine", Status: engine.Already, Err: engine.ErrApplied})
	want := []string{
		"Processes patched: 2, Skipped: 5, Failed: 1. In 3: already applied.",
		`failed: db \x1b[31m (7): timed out`,
		"skipped: sshd (0), sshd (1), sshd (2) and 2 more: no engine can patch the process",
	}
	if d := cmp.Diff(want, o.Lines()); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
	if !regexp.MustCompile(`Processes patched: \d+, Skipped: \d+, Failed: \d+\.`).
		MatchString(o.Lines()[0]) {
		t.Error("scripts cannot read the first line")
	}
	if len(o.Log) != 8 {
		t.Errorf("the log has %q", o.Log)
	}
}

// TestLeftFirst lists, of the skipped processes, those that have the library first, however many
// others there are.
func TestLeftFirst(t *testing.T) {
	o := &Outcome{Summary: engine.Summary{Skipped: 21, Left: 1}}
	for i := range 2 * maxLines {
		o.add(&engine.Report{PID: i, Name: "other", Err: fmt.Errorf("reason %d", i)})
		o.add(&engine.Report{PID: i, Name: "other", Err: fmt.Errorf("reason %d", i)})
	}
	o.add(&engine.Report{PID: 99, Name: "valgrind", Left: true,
		Results: []engine.Result{{Err: engine.ErrNoEngine}}})
	if got := o.Lines(); got[1] != "skipped: valgrind (99): no engine can patch the process" {
		t.Errorf("%q", got)
	}
}

// TestPrivilegedFirst names privileged processes that remain unpatched before all others and before
// all notes, however many reasons a user makes up.
func TestPrivilegedFirst(t *testing.T) {
	o := &Outcome{}
	o.note("a note")
	for i := range 2 * maxLines {
		o.add(&engine.Report{PID: i, Name: "p", UID: 1000, Status: engine.Failed,
			Err: fmt.Errorf("reason %d", i)})
	}
	o.add(&engine.Report{PID: 98, Name: "sshd", Left: true, Err: engine.ErrShared})
	o.add(&engine.Report{PID: 99, Name: "su", UID: 1000, Elevated: true, Status: engine.Failed,
		Err: engine.ErrFrozen})
	o.add(&engine.Report{PID: 97, Name: "passwd", UID: 1000, Elevated: true, Status: engine.Changed,
		Note: "a remark"})
	want := []string{
		"failed: su (99): " + engine.ErrFrozen.Error(), "skipped: sshd (98): " +
			engine.ErrShared.Error(), "a note",
		"opt-outs ignored, of processes that run with rights that the user who started them " +
			"lacks: 1",
	}
	if d := cmp.Diff(want, o.Lines()[1:5]); d != "" {
		t.Errorf("lines (-want +got):\n%s", d)
	}
}

// TestFewLines prints at most eleven lines, however many reasons and notes there are.
func TestFewLines(t *testing.T) {
	o := &Outcome{}
	for i := range 100 {
		o.add(&engine.Report{PID: i, Name: "p", UID: 1000, Status: engine.Failed,
			Err: fmt.Errorf("reason %d", i)})
	}
	o.note("a note")
	got := o.Lines()
	if len(got) != 1+maxLines || got[1] != "a note" ||
		got[maxLines] != "and 92 more lines, in the log" {
		t.Errorf("%d lines: %s", len(got), strings.Join(got, "\n"))
	}
	if len(o.Log) != 101 {
		t.Errorf("the log has %d lines", len(o.Log))
	}
}
