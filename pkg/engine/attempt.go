package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// The pause before the next attempt doubles from first to longest, and is somewhere between half of
// that and the whole, so that two engines, or an engine and what it disturbs, do not go in step.
const (
	firstPause   = time.Millisecond
	longestPause = 250 * time.Millisecond
)

// lastingWait is how long to wait for what is known without a stop and may last for ever: memory
// that two processes have, which after vfork takes milliseconds, a process within exec that may
// have it, and a frozen control group.
const lastingWait = 500 * time.Millisecond

// pause returns how long to wait after an attempt, the first of which is number 1.
func pause(attempt int) time.Duration {
	d := longestPause
	if attempt < 9 { // 1 ms << 8 is more than the longest
		d = min(d, firstPause<<(attempt-1))
	}
	return d/2 + rand.N(d/2+1) //nolint:gosec // no secret: it spreads attempts
}

// course is what became of a process so far, attempt by attempt. Between them it takes no place
// from others.
type course struct {
	r      *runner
	run    context.Context // of the whole run: when it ends no further attempt is begun
	p      *process.Process
	rep    *Report
	n      int               // attempts
	done   map[string]Result // what earlier attempts changed
	failed failures
	until  time.Time // when the process's time is over
	lasts  time.Time // since when something is known to be in the way that may last
}

// lastsTooLong reports whether the same obstacle has been there for longer than is worth waiting
// for.
func (c *course) lastsTooLong(again *AgainError) bool {
	switch {
	case !errors.Is(again, ErrShared) && !errors.Is(again, ErrVfork) &&
		!errors.Is(again, ErrFrozen) && !errors.Is(again, process.ErrSilent):
		c.lasts = time.Time{}
	case c.lasts.IsZero():
		c.lasts = time.Now()
	}
	return !c.lasts.IsZero() && time.Since(c.lasts) > lastingWait
}

// attempt works on the process until what can be done now is done, and reports it unless another
// attempt may turn out better: then it returns that.
func (c *course) attempt() *process.Later {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(c.run), c.until)
	defer cancel()
	for {
		c.n++
		before := *c.rep
		concerned, more, again := c.r.attempt(ctx, c)
		if c.n > 1 && ctx.Err() != nil && c.rep.brokenOff() {
			// why it failed as long as there was time says more
			rep := c.rep
			rep.Results, rep.Status, rep.Err, rep.Left, rep.Foreign = before.Results, before.Status,
				before.Err, before.Left, before.Foreign
			return c.over()
		}
		switch {
		case again == nil && more:
			continue // with the other engine
		case again == nil && !concerned:
			return nil
		case again == nil:
			return c.over()
		}
		if !c.looksAgain(again) && (c.r.o.DryRun || c.r.o.Attempts > 0 &&
			c.n >= max(c.r.o.Attempts, least(again))) || c.run.Err() != nil ||
			c.lastsTooLong(again) {
			return c.over()
		}
		return &process.Later{Pause: pause(c.n), Visit: c.next}
	}
}

// looks bounds how often a dry run and a survey look at a process that is changing. Together they
// take some seconds at most.
const looks = 16

// looksAgain reports whether there is another attempt whatever the options say, since it needs a
// look only, and no stop.
func (c *course) looksAgain(again *AgainError) bool {
	if errors.Is(again, process.ErrStarting) {
		return true
	}
	return c.r.o.DryRun && c.n < looks &&
		(errors.Is(again, process.ErrChanged) || errors.Is(again, native.ErrAgain) ||
			errors.Is(again, native.ErrStale))
}

// next looks at the process again, and makes another attempt.
func (c *course) next(turn context.Context) *process.Later {
	if turn.Err() != nil {
		return c.over()
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(c.run), c.until)
	defer cancel()
	if errors.Is(c.p.Verify(ctx), process.ErrChanged) {
		clear(c.done) // in a program that is not there any more
	}
	next, err := process.Look(ctx, c.p.PID, process.Options{Root: c.r.o.Root})
	switch {
	case ctx.Err() != nil:
		return c.over()
	case passing(err) != nil:
		c.n++
		return &process.Later{Pause: pause(c.n), Visit: c.next}
	case err == nil && (!next.Alive() || next.StartTime != c.p.StartTime):
		err = process.ErrGone
	case err == nil && !c.r.o.Selector.wants(next): // as the program that it is now
		return nil
	}
	if err != nil {
		c.rep.fail(statusOf(err), err)
		return c.over()
	}
	c.p = next
	c.rep.of(next)
	clear(c.failed) // all engines have another turn
	return c.attempt()
}

// glimpse is a process that starts other programs faster than it can be looked at.
type glimpse struct {
	r     *runner
	run   context.Context
	pid   int
	until time.Time
	n     int // looks
}

// next looks at the process again, until it can be seen.
func (g *glimpse) next(err error) *process.Later {
	g.n++
	return &process.Later{Pause: pause(g.n), Visit: func(turn context.Context) *process.Later {
		if turn.Err() != nil {
			g.r.unseen(turn, fmt.Errorf("%w: %w", ErrDeadline, err))
			return nil
		}
		p, err := process.Look(turn, g.pid, process.Options{Root: g.r.o.Root})
		if passing(err) != nil {
			return g.next(err)
		}
		return g.r.begin(g.run, p, err, g.until)
	}}
}

// passing returns the [AgainError] that an error is. What package process says of a process that
// changes at this moment is one, wherever it comes from. It returns nil for an error that another
// attempt would not change.
func passing(err error) *AgainError {
	if e, ok := errors.AsType[*AgainError](err); ok {
		return e
	}
	if errors.Is(err, process.ErrChanged) || errors.Is(err, process.ErrBusy) ||
		errors.Is(err, process.ErrStarting) ||
		errors.Is(err, process.ErrSilent) {
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

// over reports the process.
func (c *course) over() *process.Later {
	c.r.give(c.rep)
	return nil
}

// leastUnreached is how often a process is tried that did not stop in time, even if only one
// attempt was asked for.
const leastUnreached = 4

func least(e *AgainError) int {
	if e.Unreached {
		return leastUnreached
	}
	return 1
}

// attempt looks at a process, decides, and does it once. What it finds out goes into the report.
// again says that it may turn out better a moment later, and why it did not now; more that another
// engine has something left to revert, and that it is its turn.
func (r *runner) attempt(ctx context.Context, c *course) (concerned, more bool, again *AgainError) {
	rep := c.rep
	rep.Results, rep.Err = nil, nil
	j, err := r.open(ctx, c)
	if err != nil {
		err, again = timeIsOver(err), passing(err)
		if errors.Is(err, process.ErrGone) || errors.Is(err, process.ErrNoMemory) {
			return false, false, nil
		}
		if r.o.Only != nil {
			if why := r.o.Only(ctx, c.p); errors.Is(why, ErrElsewhere) {
				// and it is not known whether it has a library
				rep.fail(Skipped, fmt.Errorf("%w; %w", why, err))
				return true, false, nil
			}
		}
		rep.fail(statusOf(err), err)
		return true, false, again
	}
	defer j.close()
	if j.ignored {
		return false, false, nil
	}
	again = j.carry(ctx, c)
	rep.conclude()
	rep.Left = rep.Status == Skipped && len(j.fit) > 0 && !rep.gone()
	rep.Foreign = rep.Status == Skipped && len(j.fit) == 0 && j.otherBuild
	if j.reverts() && j.engine != nil {
		again = c.failed.note(j.engine.Name(), rep, again)
		if j.more && (rep.Status == Changed || rep.Status == Failed) {
			return true, true, nil
		}
		c.failed.join(rep)
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
	return errors.Is(rep.Err, process.ErrGone) || slices.ContainsFunc(rep.Results,
		func(r Result) bool { return errors.Is(r.Err, process.ErrGone) })
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
