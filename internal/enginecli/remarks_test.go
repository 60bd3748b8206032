package enginecli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestRemarksOnce checks that a reason which many processes or containers have is printed once,
// with all processes; a process that stands alone has its line as ever.
func TestRemarksOnce(t *testing.T) {
	filter := errors.New("a seccomp filter forbids mmap")
	report := func(name string, pid int, status engine.Status,
		results ...engine.Result) *engine.Report {
		return &engine.Report{Name: name, PID: pid, Status: status, Left: status == engine.Skipped,
			Results: results, Note: "its opt-out is ignored"}
	}
	result := func(status engine.Status, pid int, file string, err error) engine.Result {
		if err != nil {
			err = fmt.Errorf("process %d: %w", pid, err)
		}
		return engine.Result{Step: engine.Step{Kind: engine.Apply}, Status: status, File: file,
			Err: err}
	}
	var out, errs bytes.Buffer
	p := &livePrinter{s: &console.Console{Out: &out, Err: &errs}, o: &liveOptions{}}
	for pid := range 30 {
		p.report(report("worker", 130-pid, engine.Skipped, result(engine.Skipped, 130-pid, "a.so",
			filter), result(engine.Skipped, 130-pid, "b.so", filter)))
	}
	done := report("done", 7, engine.Changed, result(engine.Changed, 7, "a.so", nil))
	done.Stop = 1449 * time.Microsecond
	p.report(done)
	p.report(report("other", 8, engine.Failed, result(engine.Failed, 8, "a.so",
		errors.New("another reason"))))
	if err := p.finish(engine.Summary{Changed: 1, Skipped: 30, Failed: 1}, true); err == nil {
		t.Error("a run in which a process failed is a success")
	}
	want := []string{
		"patched       done (7) a.so (1.4 ms)\n",
		"note          worker (101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, " +
			"114, 115, 116, 117, 118, 119, 120)" +
			" and 12 more: its opt-out is ignored\n",
		"skipped       worker (101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, " +
			"114, 115, 116, 117, 118, 119, 120)" +
			" and 10 more a.so, b.so: a seccomp filter forbids mmap\n",
		"failed        other (8) a.so: another reason\n",
	}
	for _, line := range want {
		if strings.Count(out.String(), line) != 1 {
			t.Errorf("got\n%swant once\n%s", out.String(), line)
		}
	}
	if n := strings.Count(out.String(), "forbids mmap"); n != 1 {
		t.Errorf("the reason is printed %d times, want 1:\n%s", n, out.String())
	}
	if lines := p.remarks.lines(100); !strings.Contains(lines[1], "130) a.so, b.so: ") {
		t.Errorf("with room for 100 processes, got %q, want all 30", lines[1])
	}
}

// TestRemarksQuiet checks that -q leaves the failures.
func TestRemarksQuiet(t *testing.T) {
	var out bytes.Buffer
	p := &livePrinter{s: &console.Console{Out: &out, Err: &out, Quiet: true}, o: &liveOptions{}}
	for status, reason := range map[engine.Status]string{engine.Skipped: "skipped",
		engine.Failed: "failed"} {
		p.report(&engine.Report{Name: "p", PID: 7, Status: status, Left: true,
			Err: errors.New(reason), Note: "note"})
	}
	_ = p.finish(engine.Summary{Failed: 1, Skipped: 1}, true)
	if want := "failed        p (7): failed\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
