package enginecli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/hook"
)

// TestMaxStop: the limit goes to the engines and from a scriptlet to its worker, and a stop that
// was longer anyway is reported.
func TestMaxStop(t *testing.T) {
	for in, want := range map[time.Duration]time.Duration{0: 0,
		7 * time.Millisecond: 7 * time.Millisecond} {
		o := hookOptions{deadline: time.Second, engineOptions: engineOptions{engine: "auto",
			maxStop: in}}
		if flags := o.flags(&console.Console{Out: &bytes.Buffer{},
			Err: &bytes.Buffer{}}); !slices.Contains(flags, "--max-stop="+in.String()) {
			t.Errorf("the worker's flags are %q", flags)
		} else if slices.Contains(flags, "--process=") {
			t.Errorf("the worker would refuse %q", flags)
		}
		engines, err := o.engines("lpbuild hook")
		if err != nil || len(engines) != 2 {
			t.Fatal(engines, err)
		}
		if p, n := engines[0].(*engine.Libpulp).MaxStop,
			engines[1].(*engine.Native).MaxStop; p != want || n != want {
			t.Errorf("--max-stop=%v: %v and %v", in, p, n)
		}
	}
	if _, err := (&engineOptions{engine: "auto",
		maxStop: -1}).engines("lpbuild hook"); !errors.Is(err, console.ErrUsage) {
		t.Errorf("a negative time: %v", err)
	}
	report := &engine.Report{PID: 4711, Name: "mysqld", Status: engine.Changed, Late: true,
		Stop:    612 * time.Millisecond,
		Results: []engine.Result{{File: "a.so", Status: engine.Changed}}}
	sum := engine.Summary{Changed: 1, Late: 1, LongestStop: report.Stop}
	for json, want := range map[bool]string{false: "longest stop 612 ms; 1 process was stopped " +
		"for longer than --max-stop\n", true: `"max_stop_exceeded": true`} {
		s := &console.Console{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
		s.JSON = json
		p := &livePrinter{s: s, o: &liveOptions{}}
		p.report(report)
		if err := p.finish(sum, true); err != nil {
			t.Error(err)
		}
		if got := s.Out.(*bytes.Buffer).String(); !strings.Contains(got, want) || json &&
			!strings.Contains(got, `"max_stop_exceeded": 1`) {
			t.Errorf("json %v: %s", json, got)
		}
	}
}

// TestNamedOnce: a line that names a process does not name it again in its reason, and one of which
// no name is known has a mark.
func TestNamedOnce(t *testing.T) {
	s := &console.Console{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
	p := &livePrinter{s: s, o: &liveOptions{}}
	look := &process.LookError{PID: 44, What: "status", Err: process.ErrMalformed}
	p.report(&engine.Report{PID: 44, Status: engine.Failed, Err: fmt.Errorf("process 44: %w",
		look)})
	_ = p.finish(engine.Summary{Failed: 1}, true) // remarks are printed when all are known
	want := "failed        ? (44): status: malformed\n"
	if got := s.Out.(*bytes.Buffer).String(); !strings.HasPrefix(got, want) ||
		strings.Count(got, "44") != 1 {
		t.Errorf("got %q, want %q first, and the process named once", got, want)
	}
	if got := stateWord(&engine.Survey{PID: 44, Err: look}); got != "unknown: status: malformed" {
		t.Errorf("%q", got)
	}
}

// TestReconcileSays: the timer's command is silent where nothing is to be done, but not where it
// cannot do it.
func TestReconcileSays(t *testing.T) {
	foreign, none := t.TempDir(), t.TempDir()
	if err := os.Symlink("1", filepath.Join(foreign, "self")); err != nil {
		t.Fatal(err)
	}
	for proc, want := range map[string]string{foreign: "Live patches are not applied here: " +
		"/proc shows the processes of another PID namespace: no process is touched\n", none: ""} {
		s := &console.Console{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}}
		r := hook.Request{Action: hook.Reconcile, DryRun: true, Root: t.TempDir(), Proc: proc}
		if err := (&hookOptions{}).work(t.Context(), s, r); err != nil {
			t.Error(err)
		}
		if got := s.Out.(*bytes.Buffer).String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
