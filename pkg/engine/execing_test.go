package engine_test

import (
	"errors"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// execing starts a process that does not come to the end of an exec until the test ends, as a user.
// It returns its PID. Whoever else looks at it meanwhile waits, on the whole machine.
func execing(t *testing.T, name string, uid int) int {
	t.Helper()
	server := targettest.Start(t, exec.Command(gcc(t, "program/"+name, "../../testdata/execing.c",
		"-pthread"), strconv.Itoa(uid)))
	pid, err := strconv.Atoi(server.Line())
	must(t, err)
	if pid < 0 {
		t.Skip("no FUSE here: opening /dev/fuse, or its file system: ", unix.Errno(-pid))
	}
	return pid
}

// TestExecing has a process that answers nobody: it is within an exec that does not come to its
// end. It holds up no run that is about others by their names, and one that is about it by no more
// than its own time.
func TestExecing(t *testing.T) {
	const timeout = 2 * time.Second
	good, name := start(t, "a", "", "execing_good"), engine.NewWildcard("execing_good")
	for _, uid := range []int{0, 65534} {
		t.Run(strconv.Itoa(uid), func(t *testing.T) {
			hung := execing(t, "execing_hung", uid)
			cs := read(t, container(t, "a", 10))
			by := func(s engine.Selector, revert bool) (map[int]*engine.Report, time.Duration) {
				begun := time.Now()
				reports, _, err := runAll(t, engine.Options{Selector: s, Containers: cs,
					Engines: auto(), Revert: revert, Timeout: timeout})
				must(t, err)
				return reports, time.Since(begun)
			}
			for _, revert := range []bool{false, true} {
				reports, took := by(engine.Selector{Name: &name}, revert)
				if r := reports[good.pid]; len(reports) != 1 || r == nil ||
					r.Status != engine.Changed || took > timeout {
					t.Errorf("by name, revert %v: %v, %+v after %v", revert, reports, r, took)
				}
			}
			all := engine.NewWildcard("execing_*")
			reports, took := by(engine.Selector{Name: &all}, false)
			if r := reports[good.pid]; r == nil || r.Status != engine.Changed {
				t.Errorf("beside it: %+v", r)
			}
			r := reports[hung]
			if r == nil || r.Name != "execing_hung" || r.Status != engine.Failed ||
				!errors.Is(r.Err, engine.ErrDeadline) || took > 3*timeout {
				t.Errorf("itself: %+v after %v", r, took)
			}
			reports, took = by(engine.Selector{PID: good.pid}, true)
			if r := reports[good.pid]; r == nil || r.Status != engine.Changed || took > timeout {
				t.Errorf("by PID: %+v after %v", r, took)
			}

			begun := time.Now()
			o := engine.SurveyOptions{Selector: engine.Selector{Name: &name}, Engines: auto(),
				Timeout: timeout}
			if list, _, err := engine.Look(t.Context(), o); err != nil || len(list) != 1 ||
				time.Since(begun) > timeout {
				t.Errorf("survey: %v, %v after %v", list, err, time.Since(begun))
			}
			if is, err := o.Selector.Matches(t.Context()); !is || err != nil {
				t.Errorf("Matches: %v, %v", is, err)
			}
			nobody := engine.NewWildcard("execing_nobody")
			o.Selector.Name = &nobody
			if is, err := o.Selector.Matches(t.Context()); is || err != nil ||
				time.Since(begun) > 2*timeout {
				t.Errorf("Matches another name: %v, %v after %v", is, err, time.Since(begun))
			}
			if name, err := process.NameOf(t.Context(), hung,
				process.Options{}); name != "execing_hung" || err != nil {
				t.Errorf("its name: %q, %v", name, err)
			}
		})
	}
}
