package trigger

import (
	"context"
	"slices"
)

// A live patch may be another engine's than the one that a process would get today: somebody chose that engine. It is listed
// with the others, and reverted by the engine that applied it.

// reverts says that the run takes live patches out and puts none in.
func (j *job) reverts() bool { return j.o.Revert || j.o.Containers.Len() == 0 && j.o.RevertAll != "" }

// chooseHolder replaces the engine by the first one that has something in the process which is to be reverted, and says in
// more whether there is another one. If none has, all stays as it is.
func (j *job) chooseHolder(ctx context.Context) error {
	engine, target, found := j.engine, j.target, false
	defer func() { j.engine, j.target = engine, target }()
	for _, b := range j.o.Backends[slices.Index(j.o.Backends, engine):] {
		t := target
		if b != engine {
			var err error
			if t, err = b.Open(ctx, &j.view); err != nil {
				continue // it cannot have anything there
			}
		}
		j.engine, j.target = b, t
		has, err := j.holds(ctx)
		if has && !found {
			engine, target, t = b, t, target
			found = true
		} else {
			j.more = j.more || has
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

// holds says whether the engine has something in the process that is to be reverted and is not yet.
func (j *job) holds(ctx context.Context) (bool, error) {
	applied, err := j.target.Applied(ctx)
	if err != nil || len(applied) == 0 {
		return false, err
	}
	steps, err := j.steps(ctx)
	return slices.ContainsFunc(steps, func(s Step) bool {
		return slices.ContainsFunc(applied, func(a Applied) bool {
			return s.Container == nil && a.Library == s.Library || s.Container != nil && a.ID == s.Container.Patch.Metadata.PatchID
		})
	}), err
}

// allApplied returns the live patches of all engines.
func (j *job) allApplied(ctx context.Context) ([]Applied, error) {
	applied, err := j.target.Applied(ctx)
	if err != nil {
		return nil, err
	}
	others, err := appliedByOthers(ctx, j.o.Backends, j.engine, &j.view, nil)
	return append(applied, others...), err
}

// appliedByOthers returns the live patches of the engines behind one, and calls seen for each engine that has some.
func appliedByOthers(ctx context.Context, backends []Backend, engine Backend, v *View, seen func(Target, []Applied)) ([]Applied, error) {
	var all []Applied
	for _, b := range backends[slices.Index(backends, engine)+1:] {
		t, err := b.Open(ctx, v)
		if err != nil {
			continue // it cannot have anything there
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
