package engine_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// TestOnly leaves processes alone that the caller does not mean, and counts and names each that has
// the library: with the reason, or, if it is not known whether it is meant, as a failure. Those
// that have another build or none are not worth a word.
func TestOnly(t *testing.T) {
	for _, engines := range [][]engine.Engine{{&engine.Libpulp{}}, {&engine.Native{}}} {
		preload := ""
		if engines[0].Name() == "libpulp" {
			preload = standIn(t)
		}
		all := "only" + engines[0].Name()[:3]
		one, other, unknown := start(t, "a", preload, all+"1"), start(t, "a", preload, all+"2"),
			start(t, "a", preload, all+"3")
		start(t, "bb", preload, all+"4")
		elsewhere := fmt.Errorf("%w: in another world", engine.ErrElsewhere)
		why := map[int]error{other.pid: elsewhere, unknown.pid: errors.New("no answer")}
		name := engine.NewWildcard(all + "?")
		o := engine.Options{
			Selector: engine.Selector{Name: &name}, Engines: engines,
			Containers: read(t, container(t, "a", 10)),
			Only: func(_ context.Context, p *process.Process) error {
				if p.PID == one.pid {
					return nil
				}
				return cmp.Or(why[p.PID], elsewhere)
			},
		}
		for _, dry := range []bool{true, false} {
			o.DryRun = dry
			reports, sum, err := runAll(t, o)
			must(t, err)
			if sum.Changed != 1 || sum.Skipped != 1 || sum.Left != 1 || sum.Failed != 1 ||
				sum.Processes() != 3 {
				t.Errorf("%+v", sum)
			}
			other.is(engine.Skipped, engine.ErrElsewhere, reports[other.pid])
			unknown.is(engine.Failed, why[unknown.pid], reports[unknown.pid])
		}
		one.says(tens10)
		other.says(unpatched)
		unknown.says(unpatched)
		o.Only = nil
		runAll(t, o)
		o.Only = func(context.Context, *process.Process) error { return elsewhere }
		if _, sum, err := runAll(t, o); err != nil || sum.Already != 3 || sum.Processes() != 3 {
			// whoever put it there
			t.Errorf("%v: %+v, of processes that have the live patch", err, sum)
		}
	}
}
