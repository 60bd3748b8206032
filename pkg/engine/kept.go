package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
)

// A live patch that was reverted while a thread was in it stays in memory for that thread. The next
// change of the process gives the memory back; where there is nothing to change, so does whoever
// finds that.

// kept returns the live patches of the native engine that are in the process and not applied, the
// newest first; none if that engine is not among those that are allowed.
func (v *View) kept(ctx context.Context, engines []Engine) ([]Applied, error) {
	if nativeOf(engines) == nil {
		return nil, nil
	}
	list, err := v.injected(ctx)
	if err != nil {
		return nil, err
	}
	var kept []Applied
	for _, a := range list {
		if !a.Active {
			kept = append(kept, newApplied(a))
		}
	}
	return kept, nil
}

// left returns memory of the native engine that nothing leads to and that is no live patch: an
// engine that was killed left it.
func (v *View) left(ctx context.Context, engines []Engine) (native.Leftover, error) {
	if nativeOf(engines) == nil {
		return native.Leftover{}, nil
	}
	_, err := v.injected(ctx)
	return v.known.left, err
}

// unused reports whether the native engine has memory in the process that it does not use.
func (v *View) unused(ctx context.Context, engines []Engine) (bool, error) {
	kept, err := v.kept(ctx, engines)
	if err != nil {
		return false, err
	}
	left, err := v.left(ctx, engines)
	return len(kept) > 0 || left.Mappings > 0, err
}

// nativeOf returns the native engine if it is among some.
func nativeOf(engines []Engine) *Native {
	for _, b := range engines {
		if n, ok := b.(*Native); ok {
			return n
		}
	}
	return nil
}

// tidy gives memory back that nothing needs any more, in a process in which there is nothing else
// to do, and says so in what is reported of live patches that are not there to be reverted.
// Whatever keeps it from that is no failure.
func (j *job) tidy(ctx context.Context, rep *Report, verdicts []error) []error {
	unused, err := j.view.unused(ctx, j.o.Engines)
	if err != nil || !unused {
		return verdicts
	}
	said := ": the memory that a thread needed, or that a killed engine left, is given back"
	if freed, err := j.tidyOnce(ctx, rep); err != nil || !freed {
		said = ": a thread still needs its memory"
	}
	verdicts = slices.Clone(verdicts)
	for i, err := range verdicts {
		if errors.Is(err, ErrNotApplied) || errors.Is(err, ErrNoPatches) {
			verdicts[i] = &engineError{errors.New(err.Error() + said), err}
		}
	}
	return verdicts
}

// tidyOnce stops the process and gives back what can be. It returns whether that is all.
func (j *job) tidyOnce(ctx context.Context, rep *Report) (all bool, err error) {
	t, err := nativeOf(j.o.Engines).Open(ctx, &j.view)
	if err != nil {
		return false, err
	}
	defer t.Close()
	target := t.(*nativeTarget)
	plan, err := target.seen.Plan(ctx, native.Change{Revert: func(native.AppliedPatch) bool {
		return false
	}}, target.options())
	if err != nil {
		return false, nativeError(err)
	}
	res, err := plan.Run(ctx)
	j.stood(rep, res.Stop)
	return err == nil && res.Retired == 0, nativeError(err)
}

// Why nothing is cleaned up.
var (
	// ErrNothingLeft: no engine left anything in the process.
	ErrNothingLeft = errors.New("no engine left anything in the process")
	// ErrKept: a thread still runs in what would be given back, or will return into it.
	ErrKept = errors.New("a thread still needs its memory")
)

// openLeft decides whether a process is concerned by a run that cleans up.
func (j *job) openLeft(ctx context.Context) error {
	unused, err := j.view.unused(ctx, j.o.Engines)
	if err != nil {
		return nativeError(err)
	}
	if j.ignored = !unused && j.o.Selector.PID == 0 || nativeOf(j.o.Engines) == nil; j.ignored {
		return nil
	}
	j.engine = nativeOf(j.o.Engines)
	if j.target, err = j.engine.Open(ctx, &j.view); errors.Is(err, ErrNoEngine) {
		j.none, err = err, nil
	}
	return err
}

// cleanUp gives memory back that nothing needs. Who opted out of live patches did not opt out of
// that.
func (j *job) cleanUp(ctx, run context.Context, rep *Report) *AgainError {
	steps := []Step{{Kind: CleanUp}}
	unused, err := j.view.unused(ctx, j.o.Engines)
	switch {
	case err != nil:
		return j.all(rep, steps, nativeError(err))
	case !unused:
		return j.all(rep, steps, ErrNothingLeft)
	}
	if err := hinders(ctx, &j.view, j.target); err != nil {
		return j.all(rep, steps, err)
	}
	if j.o.DryRun {
		return j.all(rep, steps, nil)
	}
	if run.Err() != nil {
		return j.all(rep, steps, interrupted(run))
	}
	all, err := j.tidyOnce(ctx, rep)
	if err == nil && !all {
		err = ErrKept
	}
	return j.all(rep, steps, notStopping(j.view.Process, err))
}
