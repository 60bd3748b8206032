package trigger

import (
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp/inject"
)

// A live patch that was reverted while a thread was in it stays in memory for that thread. The next change of the process gives
// the memory back; where there is nothing to change, so does whoever finds that.

// kept returns the live patches of the native engine that are in the process and not applied any more, the newest first; none
// if that engine is not among those that are allowed.
func (v *View) kept(ctx context.Context, backends []Backend) ([]Applied, error) {
	if nativeOf(backends) == nil {
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

// nativeOf returns the native engine if it is among some.
func nativeOf(backends []Backend) *Native {
	for _, b := range backends {
		if n, ok := b.(*Native); ok {
			return n
		}
	}
	return nil
}

// tidy gives memory back that nothing needs any more, in a process in which there is nothing else to do, and says so in what is
// reported of live patches that are not there to be reverted. Whatever keeps it from that is no failure.
func (j *job) tidy(ctx context.Context, rep *Report, verdicts []error) []error {
	kept, err := j.view.kept(ctx, j.o.Backends)
	if err != nil || len(kept) == 0 {
		return verdicts
	}
	said := ": the memory that a thread needed is given back"
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
	t, err := nativeOf(j.o.Backends).Open(ctx, &j.view)
	if err != nil {
		return false, err
	}
	defer t.Close()
	native := t.(*nativeTarget)
	plan, err := native.seen.Plan(ctx, inject.Change{Revert: func(inject.Applied) bool { return false }}, native.options())
	if err != nil {
		return false, err
	}
	rep.Attempts++
	res, err := plan.Run(ctx)
	rep.Stop += res.Stop
	return err == nil && res.Retired == 0, err
}
