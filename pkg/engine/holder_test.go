package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestBothHold: two engines have live patches in one process. If one cannot take out its own, the
// other one still has its turn, and the report is about both.
func TestBothHold(t *testing.T) {
	c := start(t, "a", "", "bothhold")
	ten := read(t, container(t, "a", 10))
	applied := []engine.Applied{{Library: "libtarget.so", ID: ten.List[0].Patch.Metadata.PatchID}}
	holder := func(name string, fails int, err error) *fakeEngine {
		e := &fakeEngine{name: name, applied: applied}
		e.do = func(_ context.Context, _, n int, steps []engine.Step) (engine.Done, error) {
			done := engine.Done{Errs: make([]error, len(steps)), Stop: time.Microsecond}
			for i := range steps {
				if n <= fails {
					done.Errs[i] = err
				}
			}
			return done, nil
		}
		return e
	}
	again := &engine.AgainError{Err: errBusy}
	for name, tc := range map[string]struct {
		err    [2]error // of each engine
		fails  [2]int
		tries  [2]int
		status engine.Status
		done   int // results that are not failures
	}{
		"none":        {[2]error{}, [2]int{}, [2]int{1, 1}, engine.Changed, 2},
		"first":       {[2]error{errBusy}, [2]int{9}, [2]int{1, 1}, engine.Failed, 1},
		"second":      {[2]error{nil, errBusy}, [2]int{0, 9}, [2]int{1, 1}, engine.Failed, 1},
		"both":        {[2]error{errBusy, errBusy}, [2]int{9, 9}, [2]int{1, 1}, engine.Failed, 0},
		"first, once": {[2]error{again}, [2]int{1}, [2]int{2, 1}, engine.Changed, 2},
		"both, once":  {[2]error{again, again}, [2]int{1, 1}, [2]int{2, 2}, engine.Changed, 2},
	} {
		e := [2]*fakeEngine{holder("first", tc.fails[0], tc.err[0]),
			holder("second", tc.fails[1], tc.err[1])}
		r := c.one(engine.Options{RevertAll: "libtarget.so", Engines: []engine.Engine{e[0], e[1]}})
		done := 0
		for _, result := range r.Results {
			if result.Status == engine.Changed {
				done++
			} else if !errors.Is(result.Err, errBusy) {
				t.Errorf("%s: %v", name, result.Err)
			}
		}
		if r.Status != tc.status || done != tc.done || len(r.Results) != 2 {
			t.Errorf("%s: %+v", name, r)
		}
		for i := range e {
			if n := e[i].attempts[c.pid]; n != tc.tries[i] {
				t.Errorf("%s: engine %d was at work %d times, not %d", name, i, n, tc.tries[i])
			}
			if e[i].opened.Load() != 0 {
				t.Errorf("%s: targets are not closed", name)
			}
		}
	}
}
