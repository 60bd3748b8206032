package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// endsAfter is a context that ends when it is asked whether it has, after some times.
type endsAfter struct {
	context.Context
	left atomic.Int64
	done chan struct{}
}

func newEndsAfter(ctx context.Context, asked int) *endsAfter {
	c := &endsAfter{Context: ctx, done: make(chan struct{})}
	c.left.Store(int64(asked))
	return c
}

func (c *endsAfter) Done() <-chan struct{} { return c.done }

func (c *endsAfter) Err() error {
	left := c.left.Add(-1)
	if left == -1 {
		close(c.done)
	}
	if left < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// TestTimeEnds ends the time at every place where an engine looks at it. None may return without a
// plan and without an error.
func TestTimeEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		preload string
		by      engine.Engine
	}{
		"libpulp": {standIn(t), &engine.Libpulp{}}, "native": {"", &engine.Native{}},
		"native beside libpulp": {standIn(t), &engine.Native{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", tc.preload, "ends_"+name)
			p, err := process.Look(t.Context(), c.pid, process.Options{})
			must(t, err)
			containers := read(t, container(t, "a", 10))
			var ended, planned int
			for asked := 0; asked < 1000 && planned < 3; asked++ {
				ctx := newEndsAfter(t.Context(), asked)
				plan, err := planFor(ctx, t, tc.by, p, containers)
				switch {
				case err == nil && plan == nil:
					t.Fatalf("neither a plan nor an error when time ended after question %d", asked)
				case err == nil && plan.Verdicts()[0] == nil:
					planned++
				case err != nil && !errors.Is(err, context.DeadlineExceeded):
					t.Errorf("after question %d: %v", asked, err)
				default:
					ended++
				}
			}
			if ended == 0 || planned == 0 {
				t.Errorf("time ended in %d, and was enough in %d", ended, planned)
			}
		})
	}
}

// planFor opens a process and plans to apply a live patch.
func planFor(ctx context.Context, t *testing.T, by engine.Engine, p *process.Process,
	containers *engine.Containers) (engine.Plan, error) {
	t.Helper()
	v, err := engine.OpenView(ctx, p)
	if err != nil {
		return nil, err
	}
	defer v.Memory.Close()
	target, err := by.Open(ctx, v)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	if err := target.Enabled(ctx); err != nil {
		return nil, err
	}
	c := containers.List[0]
	return target.Plan(ctx, []engine.Step{{Kind: engine.Apply, Library: c.Target().Name,
		Container: c}})
}
