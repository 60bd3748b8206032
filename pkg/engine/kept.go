package engine

import (
	"context"
	"errors"
	"slices"
)

// A live patch that was reverted while a thread was in it stays in memory for that thread. The next
// change of the process gives the memory back; where there is nothing to change, so does whoever
// finds that.

// remains returns what an engine among those that are allowed left in the process, and which one;
// the engine is nil if none of them ever leaves anything.
func (v *View) remains(ctx context.Context, engines []Engine) (Engine, *Remains, error) {
	for _, e := range engines {
		if r, err := e.Remains(ctx, v); r != nil || err != nil {
			return e, r, err
		}
	}
	return nil, nil, nil
}

// tidy gives memory back that nothing needs any more, in a process in which there is nothing else
// to do, and says so in what is reported of live patches that are not there to be reverted.
// Whatever keeps it from that is no failure.
func (j *job) tidy(ctx context.Context, rep *Report, verdicts []error) []error {
	engine, remains, err := j.view.remains(ctx, j.o.Engines)
	if err != nil || !remains.any() {
		return verdicts
	}
	said := ": the memory that a thread needed, or that a killed engine left, is given back"
	if freed, err := j.tidyOnce(ctx, engine, rep); err != nil || !freed {
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
func (j *job) tidyOnce(ctx context.Context, e Engine, rep *Report) (all bool, err error) {
	t, err := e.Open(ctx, &j.view)
	if err != nil {
		return false, err
	}
	defer t.Close()
	all, stop, err := t.CleanUp(ctx)
	j.stood(rep, stop)
	return all, err
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
	engine, remains, err := j.view.remains(ctx, j.o.Engines)
	if err != nil {
		return nativeError(err)
	}
	if j.ignored = engine == nil || !remains.any() && j.o.Selector.PID == 0; j.ignored {
		return nil
	}
	j.engine = engine
	if j.target, err = j.engine.Open(ctx, &j.view); errors.Is(err, ErrNoEngine) {
		j.none, err = err, nil
	}
	return err
}

// cleanUp unmaps memory that nothing needs, also in a process that opted out of live patches.
func (j *job) cleanUp(ctx, run context.Context, rep *Report) *AgainError {
	steps := []Step{{Kind: CleanUp}}
	engine, remains, err := j.view.remains(ctx, j.o.Engines)
	switch {
	case err != nil:
		return j.all(rep, steps, nativeError(err))
	case !remains.any():
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
	all, err := j.tidyOnce(ctx, engine, rep)
	if err == nil && !all {
		err = ErrKept
	}
	return j.all(rep, steps, notStopping(j.view.Process, err))
}
