package native

import (
	"context"
	"errors"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// newPlan looks at a process and plans a change of it at once.
func newPlan(ctx context.Context, p *process.Process, c Change, o Options) (*Plan, error) {
	if err := admissible(p); err != nil {
		return nil, pidError(p.PID, "", err)
	}
	pl, err := see(ctx, p, func(ctx context.Context, v *View) (*Plan, error) {
		return v.plan(ctx, c, o)
	})
	return pl, pidError(p.PID, "", err)
}

// again reports whether a change is to be tried again after an error.
func again(err error) bool {
	return errors.Is(err, ErrAgain) || errors.Is(err, ErrStale) || errors.Is(err, ErrShared) ||
		errors.Is(err, process.ErrChanged)
}

// Pauses of do.
const (
	firstPause = time.Millisecond
	mostPause  = 200 * time.Millisecond
	doTime     = 2 * time.Minute // so that what never comes to an end has a reason in the log
)

// do plans and carries out a change, and tries again as long as threads are in the way, the process
// changes, or starts another program; with growing pauses, until the context ends, or after doTime.
// Then the error is the last attempt's.
func do(ctx context.Context, p *process.Process, c Change, o Options) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, doTime)
	defer cancel()
	var last error
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		var res Result
		pl, err := newPlan(ctx, p, c, o)
		if err == nil {
			res, err = pl.Run(ctx)
		}
		switch {
		case err != nil && last != nil && ctx.Err() != nil:
			return res, last
		case err == nil || !again(err):
			return res, err
		}
		last = err
		select {
		case <-ctx.Done():
			return res, err
		case <-time.After(pause):
		}
		if errors.Is(err, process.ErrChanged) {
			next, lookErr := process.Look(ctx, p.PID, process.Options{})
			if errors.Is(lookErr, process.ErrGone) {
				// which says more than how it looked just before
				return res, lookErr
			}
			if lookErr != nil || next.StartTime != p.StartTime {
				return res, err
			}
			p = next
		}
	}
}
