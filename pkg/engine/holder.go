package engine

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// A live patch may be another engine's than the one that a process would get today: somebody chose
// that engine. It is listed with the others, and reverted by the engine that applied it.

// reverts says that the run takes live patches out and puts none in.
func (j *job) reverts() bool {
	return j.o.Revert || j.o.Containers.Len() == 0 && j.o.RevertAll != ""
}

// failures are what engines could not revert in this round of attempts, by the engine's name: the
// others have their turn, and the report is about all of them.
type failures map[string]failure

type failure struct {
	results []Result
	again   *AgainError
}

// note takes in what became of an engine's attempt, and returns why another round may turn out
// better, by any engine.
func (f failures) note(engine string, rep *Report, again *AgainError) *AgainError {
	delete(f, engine)
	if rep.Status == Failed {
		f[engine] = failure{slices.DeleteFunc(slices.Clone(rep.Results),
			func(r Result) bool { return r.Status != Failed }), again}
	}
	for _, name := range f.engines() {
		again = again.or(f[name].again)
	}
	return again
}

// engines returns the names of those that failed, in an order that is always the same.
func (f failures) engines() []string { return slices.Sorted(maps.Keys(f)) }

// join adds to a report what other engines than its own could not do.
func (f failures) join(rep *Report) {
	for _, engine := range f.engines() {
		if engine == rep.Engine {
			continue
		}
		for _, bad := range f[engine].results {
			rep.Results = slices.DeleteFunc(rep.Results, func(r Result) bool {
				return r.Step == bad.Step && r.Status < Changed
			})
			rep.Results = append(rep.Results, bad)
		}
		rep.conclude()
	}
}

// chooseHolder replaces the engine by the first one that has something in the process which is to
// be reverted and has not failed yet, and says in more whether there is another one. If all have
// failed, the first one is taken; if none has anything, all stays as it is.
func (j *job) chooseHolder(ctx context.Context) error {
	engine, target, found, fresh := j.engine, j.target, false, false
	defer func() { j.engine, j.target = engine, target }()
	for _, b := range j.o.Engines[slices.Index(j.o.Engines, engine):] {
		t := target
		if b != engine {
			var err error
			if t, err = b.Open(ctx, &j.view); errors.Is(err, ErrNoEngine) {
				continue // it cannot have anything there
			}
			if err != nil {
				return err
			}
		}
		j.engine, j.target = b, t
		has, err := j.holds(ctx)
		_, bad := j.failed[b.Name()]
		switch {
		case has && (!found || !bad && !fresh):
			engine, target, t = b, t, target
			found, fresh = true, !bad
		case has && !bad:
			j.more = true
		}
		if t != target {
			t.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether the engine has something in the process that is to be reverted and is not
// yet.
func (j *job) holds(ctx context.Context) (bool, error) {
	applied, err := j.target.Applied(ctx)
	if err != nil || len(applied) == 0 {
		return false, err
	}
	steps, err := j.steps(ctx)
	return slices.ContainsFunc(steps, func(s Step) bool {
		return slices.ContainsFunc(applied, func(a Applied) bool {
			return s.Container == nil && a.Library == s.Library || s.Container != nil &&
				a.ID == s.Container.Patch.Metadata.PatchID
		})
	}), err
}

// allApplied returns the live patches of all engines.
func (j *job) allApplied(ctx context.Context) ([]Applied, error) {
	applied, err := j.target.Applied(ctx)
	if err != nil {
		return nil, err
	}
	others, err := appliedByOthers(ctx, j.o.Engines, j.engine, &j.view, nil)
	return append(applied, others...), err
}

// appliedByOthers returns the live patches of the engines after one, and calls seen for each
// engine that has some.
func appliedByOthers(ctx context.Context, engines []Engine, engine Engine, v *View,
	seen func(Target, []Applied)) ([]Applied, error) {
	var all []Applied
	for _, b := range engines[slices.Index(engines, engine)+1:] {
		t, err := b.Open(ctx, v)
		if errors.Is(err, ErrNoEngine) {
			continue // it cannot have anything there
		}
		if err != nil {
			return all, err
		}
		list, err := t.Applied(ctx)
		if seen != nil && err == nil {
			seen(t, list)
		}
		t.Close()
		if err != nil {
			return all, err
		}
		all = append(all, list...)
	}
	return all, nil
}
