package trigger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// The pause before the next attempt doubles from first to longest, and is somewhere between half of that and the whole,
// so that two engines, or an engine and what it disturbs, do not go in step.
const (
	firstPause   = time.Millisecond
	longestPause = 250 * time.Millisecond
)

// pause returns how long to wait after an attempt, the first of which is number 1.
func pause(attempt int) time.Duration {
	d := longestPause
	if attempt < 9 { // 1 ms << 8 is more than the longest
		d = min(d, firstPause<<(attempt-1))
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // no secret: it spreads attempts
}

// attempts works on a process until what can be done is done, and fills its report. It returns false if the process is
// not concerned.
func (r *runner) attempts(ctx, run context.Context, p *process.Process, rep *Report) (concerned bool) {
	done := map[string]Result{} // what earlier attempts changed
	failed := failures{}
	for n := 1; ; n++ {
		var again *AgainError
		var more bool
		before := *rep
		concerned, more, again = r.attempt(ctx, run, p, rep, done, failed)
		if n > 1 && ctx.Err() != nil && rep.brokenOff() { // why it failed as long as there was time says more
			rep.Results, rep.Status, rep.Err, rep.Left, rep.Foreign = before.Results, before.Status, before.Err, before.Left, before.Foreign
			return true
		}
		if again == nil && !more {
			return concerned
		}
		if again == nil {
			continue // with the other engine
		}
		if r.o.Attempts > 0 && n >= max(r.o.Attempts, least(again)) || r.o.DryRun || run.Err() != nil || !sleep(ctx, run, pause(n)) {
			return true
		}
		if errors.Is(p.Verify(ctx), process.ErrChanged) {
			clear(done) // in a program that is not there any more
		}
		next, err := r.lookAgain(ctx, run, p.PID)
		switch {
		case ctx.Err() != nil:
			return true
		case err == nil && (!next.Alive() || next.StartTime != p.StartTime):
			err = process.ErrGone
		case err == nil && !r.wanted(ctx, next): // as the program that it is now
			return false
		}
		if err != nil {
			rep.fail(statusOf(err), err)
			return true
		}
		p = next
		rep.of(p)
		clear(failed) // all engines have another turn
	}
}

// lookAgain looks at a process that was seen before, or that started other programs faster than it could be looked at. Of one
// that does not stop doing so, the error is that of the last look.
func (r *runner) lookAgain(ctx, run context.Context, pid int) (*process.Process, error) {
	for n := 1; ; n++ {
		p, err := process.Look(ctx, pid, process.Options{Root: r.o.Root})
		switch {
		case passing(err) == nil:
			return p, err
		case !sleep(ctx, run, pause(n)):
			return nil, fmt.Errorf("%w: %w", ErrDeadline, err)
		}
	}
}

// passing returns the [AgainError] that an error is. What package process says of a process that changes at this moment is one,
// wherever it comes from. It returns nil for an error that another attempt would not change.
func passing(err error) *AgainError {
	if e, ok := errors.AsType[*AgainError](err); ok {
		return e
	}
	if errors.Is(err, process.ErrChanged) || errors.Is(err, process.ErrBusy) {
		return &AgainError{Err: err}
	}
	return nil
}

// or returns the one of two errors that is worth more attempts.
func (e *AgainError) or(other *AgainError) *AgainError {
	if e == nil || other != nil && other.Unreached && !e.Unreached {
		return other
	}
	return e
}

// leastUnreached is how often a process is tried that did not stop in time, even if only one attempt was asked for.
const leastUnreached = 4

func least(e *AgainError) int {
	if e.Unreached {
		return leastUnreached
	}
	return 1
}

// sleep waits, and returns false if a context ended first.
func sleep(ctx, run context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-run.Done():
	}
	return false
}

// attempt looks at a process, decides, and does it once. What it finds out goes into the report. again says that it may
// turn out better a moment later, and why it did not now; more that another engine has something left to revert, and that it is
// its turn.
func (r *runner) attempt(ctx, run context.Context, p *process.Process, rep *Report, done map[string]Result, failed failures) (concerned, more bool, again *AgainError) {
	rep.Results, rep.Err = nil, nil
	j, err := r.open(ctx, p, done, failed)
	if err != nil {
		err, again = timeIsOver(err), passing(err)
		if errors.Is(err, process.ErrGone) || errors.Is(err, process.ErrNoMemory) {
			return false, false, nil
		}
		rep.fail(statusOf(err), err)
		return true, false, again
	}
	defer j.close()
	if j.ignored {
		return false, false, nil
	}
	again = j.carry(ctx, run, rep)
	rep.conclude()
	rep.Left = rep.Status == Skipped && len(j.fit) > 0 && !rep.gone()
	rep.Foreign = rep.Status == Skipped && len(j.fit) == 0 && j.otherBuild
	if j.reverts() && j.engine != nil {
		again = failed.note(j.engine.Name(), rep, again)
		if j.more && (rep.Status == Changed || rep.Status == Failed) {
			return true, true, nil
		}
		failed.join(rep)
	}
	return !j.ignored, false, again
}

// fail gives a report an error for the process as a whole.
func (rep *Report) fail(s Status, err error) {
	rep.Results, rep.Status, rep.Err, rep.Left, rep.Foreign = nil, s, err, false, false
}

// brokenOff says that nothing came of an attempt because its time was over.
func (rep *Report) brokenOff() bool {
	late := errors.Is(rep.Err, context.DeadlineExceeded)
	for _, result := range rep.Results {
		if result.Status == Changed {
			return false
		}
		late = late || errors.Is(result.Err, context.DeadlineExceeded)
	}
	return late
}

// gone says that the process ended before anything could be done.
func (rep *Report) gone() bool {
	return errors.Is(rep.Err, process.ErrGone) || slices.ContainsFunc(rep.Results, func(r Result) bool { return errors.Is(r.Err, process.ErrGone) })
}

// conclude takes the report's status from its results.
func (rep *Report) conclude() {
	if rep.Err != nil {
		return
	}
	rep.Status = Skipped
	for _, result := range rep.Results {
		rep.Status = max(rep.Status, result.Status)
	}
}
