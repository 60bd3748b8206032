package engine

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// unmeant returns why the process is not one of those that the run is about; an ErrApplied or
// ErrNotApplied if nothing is to be done there anyway.
func (j *job) unmeant(ctx context.Context, steps []Step) error {
	if j.left == nil {
		return nil
	}
	done, err := j.allDone(ctx, steps)
	switch {
	case err != nil:
		return err
	case done && j.reverts():
		j.ignored = j.o.Selector.PID == 0 // it has nothing that could stay behind
		return ErrNotApplied
	case done:
		return ErrApplied
	}
	return j.left
}

// hindered returns an AgainError for a process that cannot be changed at the moment, from what is
// known without a plan: a user with many such processes must not take the time of others.
func (j *job) hindered(ctx context.Context, steps []Step) error {
	if done, err := j.allDone(ctx, steps); done || err != nil {
		return err // nothing is to be changed
	}
	return hinders(ctx, &j.view, j.target)
}

// allDone reports whether the process is as the steps would make it.
func (j *job) allDone(ctx context.Context, steps []Step) (bool, error) {
	applied, err := j.allApplied(ctx)
	return err == nil && !slices.ContainsFunc(steps, func(s Step) bool {
		has := slices.ContainsFunc(applied, func(a Applied) bool {
			return s.Container == nil && a.Library == s.Library || s.Container != nil &&
				a.ID == s.Container.Patch.Metadata.PatchID
		})
		return has != (s.Kind == Apply)
	}), err
}

// frozen returns an AgainError with ErrFrozen for a process that would make no system calls.
func frozen(ctx context.Context, p *process.Process) error {
	is, err := p.Frozen(ctx)
	if is {
		return &AgainError{Err: ErrFrozen}
	}
	return err
}

// traced returns an AgainError with tracer.ErrTraced for a process that another program traces.
func traced(p *process.Process) error {
	if p.TracerPID == 0 || ourThread(p.TracerPID) {
		return nil
	}
	return &AgainError{Err: &tracer.Error{PID: p.PID, Tracer: p.TracerPID, Err: tracer.ErrTraced}}
}

// ourThread reports whether a number is that of a thread of this process. It asks for its own
// directory, so that nothing of another process is read; if that fails, the tracer counts as
// another one's, and the process is left alone.
func ourThread(tid int) bool {
	_, err := os.Stat("/proc/self/task/" + strconv.Itoa(tid))
	return err == nil
}

// asleep returns an AgainError at the first attempt at a process that is in an uninterruptible
// sleep, and so cannot be stopped: to wait for it comes after all others had their first attempt.
func (c *course) asleep() error {
	if c.n > 1 || c.p.State != process.DiskSleep {
		return nil
	}
	return &AgainError{Err: fmt.Errorf("process %d: %w", c.p.PID, tracer.ErrNotStopping),
		Unreached: true}
}
