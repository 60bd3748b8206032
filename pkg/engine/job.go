package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// job is one attempt at one process: what it has, what is to be done there, and by which engine.
type job struct {
	o      *Options
	view   View
	engine Engine // nil if none is for the process
	target Target // nil if there is no engine
	none   error  // why there is no engine
	more   bool   // another engine, which has not failed, has something to be reverted, too
	failed failures

	fit        []*Container // those that are for libraries of the process
	otherBuild bool         // it has a target of a build that no container is for
	ignored    bool         // it is not concerned
	left       error        // why it is not one of those that the run is about; nil if it is
	bare       []string     // libraries of which nothing is applied that could be taken out
	done       map[string]Result
}

// open looks at the process's memory and asks the engines. A job must be closed.
func (r *runner) open(ctx context.Context, c *course) (*job, error) {
	view, err := openView(ctx, c.p)
	if err != nil {
		return nil, err
	}
	j := &job{o: &r.o, view: *view, done: c.done, failed: c.failed}
	j.fit, j.otherBuild = r.o.Containers.match(j.view.Libraries)
	if r.o.Leftovers {
		if err := j.openLeft(ctx); err != nil {
			j.close()
			return nil, err
		}
		return j, nil
	}
	if err := j.started(ctx); err != nil {
		j.close()
		return nil, err
	}
	if j.unconcerned() {
		j.ignored = true
		return j, nil
	}
	if r.o.Only != nil {
		if j.left = r.o.Only(ctx, c.p); j.left != nil && len(j.fit) == 0 {
			j.ignored = true
			return j, nil
		}
	}
	j.engine, j.target, err = findEngine(ctx, r.o.Engines, &j.view)
	switch {
	case err != nil && j.left != nil:
		j.none, err = j.left, nil
	case errors.Is(err, ErrNoEngine):
		j.none, err = err, nil
	case err != nil && len(j.fit) == 0 && r.o.Selector.PID == 0:
		// it does not matter where there is nothing for it to do
		j.ignored, j.none, err = true, err, nil
	case err == nil && j.reverts():
		err = j.chooseHolder(ctx)
	}
	if err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

func (j *job) close() {
	if j.target != nil {
		j.target.Close()
	}
	j.view.Memory.Close()
}

// carry decides what is to be done and does it. again says that it may turn out better a moment
// later.
func (j *job) carry(ctx context.Context, c *course) (again *AgainError) {
	rep := c.rep
	if j.engine != nil {
		rep.Engine = j.engine.Name()
	}
	if j.target == nil {
		foreign := j.otherBuild && anywhere(j.o.Engines) // of 32 bits
		j.ignored = j.ignored || len(j.fit) == 0 && !foreign && j.o.Selector.PID == 0
		rep.fail(statusOf(cmp.Or(j.left, ErrNoEngine)), j.none)
		return nil
	}
	if j.o.Leftovers {
		return j.cleanUp(ctx, c.run, rep)
	}
	steps, err := j.steps(ctx)
	if err == nil && len(steps) > 0 {
		if err = j.unmeant(ctx, steps); err == nil {
			err = willing(ctx, &j.view, j.target)
			rep.Note = j.view.note
		}
		if err == nil {
			err = j.hindered(ctx, steps)
		}
	}
	if err == nil && len(steps) == 0 {
		return j.nothing(rep)
	}
	if err != nil {
		return j.all(rep, steps, err)
	}
	if !j.o.DryRun {
		defer lift(ctx, c.p, process.Options{Root: j.o.Root}).restore(ctx)
	}
	steps, plan, err := j.plan(ctx, steps)
	if err != nil {
		return j.all(rep, steps, err)
	}
	verdicts := plan.Verdicts()
	if j.o.DryRun {
		return j.results(rep, steps, j.uncertain(ctx, steps, verdicts))
	}
	if !slices.Contains(verdicts, nil) {
		return j.results(rep, steps, j.tidy(ctx, rep, verdicts))
	}
	if c.run.Err() != nil {
		return j.all(rep, steps, interrupted(c.run))
	}
	if err := c.asleep(); err != nil {
		return j.all(rep, steps, err)
	}
	done, err := plan.Do(ctx)
	j.stood(rep, done.Stop)
	if err != nil {
		return j.all(rep, steps, notStopping(j.view.Process, err))
	}
	return j.results(rep, steps, done.Errs)
}

// stood notes that the process was stopped.
func (j *job) stood(rep *Report, stop time.Duration) {
	rep.Attempts++
	rep.Stop += stop
	rep.Late = rep.Late || j.o.MaxStop > 0 && stop > j.o.MaxStop
}

// uncertain returns the verdicts of a dry run, which does not stop the process to see what only
// that shows.
func (j *job) uncertain(ctx context.Context, steps []Step, verdicts []error) []error {
	err := j.engine.Unsure(ctx, &j.view)
	verdicts = slices.Clone(verdicts)
	for i, s := range steps {
		if verdicts[i] == nil && s.Kind == Apply {
			verdicts[i] = err
		}
	}
	return verdicts
}

// interrupted returns why a run ended.
func interrupted(run context.Context) error {
	if cause := context.Cause(run); errors.Is(cause, ErrDeadline) {
		return cause
	}
	return ErrInterrupted
}

// steps returns what is to be done, without what earlier attempts did.
func (j *job) steps(ctx context.Context) ([]Step, error) {
	kind := Apply
	if j.o.Revert {
		kind = Revert
	}
	var steps []Step
	for _, library := range j.revertAll() {
		steps = append(steps, Step{Kind: RevertAll, Library: library})
	}
	if err := j.findBare(ctx, steps); err != nil {
		return steps, err
	}
	for _, c := range j.fit {
		steps = append(steps, Step{kind, c.Target().Name, c})
	}
	if j.o.Replace {
		same, err := j.sameApplied(ctx)
		if err != nil {
			return steps, err
		}
		if same { // the verdicts will say that all is there
			steps = slices.DeleteFunc(steps, func(s Step) bool { return s.Kind == RevertAll })
		}
	}
	return slices.DeleteFunc(steps, func(s Step) bool {
		_, ok := j.done[j.key(s)]
		return ok
	}), nil
}

// findBare notes which of the libraries have nothing to be taken out before their live patches
// come.
func (j *job) findBare(ctx context.Context, all []Step) error {
	if j.bare = nil; len(all) == 0 || len(j.fit) == 0 || j.target == nil {
		return nil
	}
	applied, err := j.allApplied(ctx)
	for _, s := range all {
		if err == nil && !slices.ContainsFunc(applied, func(a Applied) bool {
			return a.Library == s.Library
		}) {
			j.bare = append(j.bare, s.Library)
		}
	}
	return err
}

// key identifies a step in a process. All live patches of a library are those of one engine.
func (j *job) key(s Step) string {
	if s.Kind == CleanUp {
		return "left"
	}
	if s.Container == nil {
		return "all " + s.Library + " of " + j.engine.Name()
	}
	return "one " + s.Container.File
}

// revertAll returns the libraries whose live patches are all to be taken out.
func (j *job) revertAll() []string {
	switch {
	case j.o.Containers.Len() > 0 && len(j.fit) == 0, j.o.RevertAll == "" && !j.o.Replace:
		return nil
	case j.o.RevertAll != target && j.o.RevertAll != "":
		return []string{j.o.RevertAll}
	}
	var names []string
	for _, c := range j.fit {
		if name := c.Target().Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// sameApplied reports whether the live patches of the containers' targets are exactly the
// containers.
func (j *job) sameApplied(ctx context.Context) (bool, error) {
	applied, err := j.allApplied(ctx)
	if err != nil {
		return false, err
	}
	missing := map[[32]byte]bool{}
	names := map[string]bool{}
	for _, c := range j.fit {
		missing[c.Patch.Metadata.PatchID], names[c.Target().Name] = true, true
	}
	for _, a := range applied {
		switch {
		case missing[a.ID]:
			delete(missing, a.ID)
		case names[a.Library]:
			return false, nil
		}
	}
	return len(missing) == 0, nil
}

// plan lets the engine decide. All patches of a library are taken out only if something comes in
// their place: a process that cannot take the new live patch keeps the old one.
func (j *job) plan(ctx context.Context, steps []Step) ([]Step, Plan, error) {
	plan, err := j.target.Plan(ctx, steps)
	if err != nil || j.o.Containers.Len() == 0 || j.o.Revert {
		return steps, plan, err
	}
	verdicts := plan.Verdicts()
	comes := func(library string) bool {
		for i, s := range steps {
			if s.Kind == Apply && (s.Library == library || j.o.RevertAll != target &&
				!j.o.Replace) && verdicts[i] == nil {
				return true
			}
		}
		return false
	}
	foreign := func(library string) bool { // which is so because all others were to go
		for i, s := range steps {
			if s.Kind == Apply && s.Library == library && errors.Is(verdicts[i], ErrForeign) {
				return true
			}
		}
		return false
	}
	stays := func(library string) bool { // it is there already, and the others can go
		for i, s := range steps {
			if s.Kind == RevertAll && s.Library == library && j.o.Replace && verdicts[i] == nil {
				return true
			}
		}
		return false
	}
	rest := slices.DeleteFunc(slices.Clone(steps), func(s Step) bool {
		return s.Kind == RevertAll && !comes(s.Library) && !foreign(s.Library) && !stays(s.Library)
	})
	if len(rest) == len(steps) || len(rest) == 0 {
		return rest, plan, nil
	}
	plan, err = j.target.Plan(ctx, rest)
	return rest, plan, err
}

// nothing reports a process for which there is nothing to do.
func (j *job) nothing(rep *Report) *AgainError {
	if len(j.done) > 0 || j.o.Every && len(j.o.Containers.List) > 0 || j.o.BadFiles &&
		len(j.o.Containers.Bad) > 0 {
		return j.results(rep, nil, nil)
	}
	err := ErrNotLoaded
	if j.otherBuild {
		err = ErrBuildID
	}
	j.ignored = j.ignored || j.o.Containers.Len() == 0 || anywhere(j.o.Engines) && !j.otherBuild &&
		j.o.Selector.PID == 0
	rep.fail(Skipped, err)
	return nil
}

// all reports one error for all steps.
func (j *job) all(rep *Report, steps []Step, err error) *AgainError {
	errs := make([]error, len(steps))
	for i := range errs {
		errs[i] = timeIsOver(err)
	}
	if len(steps) == 0 {
		rep.fail(statusOf(err), timeIsOver(err))
		return passing(err)
	}
	return j.results(rep, steps, errs)
}

// results puts what became of the steps into the report, and says whether one of them may turn out
// better later.
func (j *job) results(rep *Report, steps []Step, errs []error) (again *AgainError) {
	for i, s := range steps {
		result := Result{Step: s, Status: statusOf(errs[i]), Err: errs[i]}
		if s.Container != nil {
			result.File = s.Container.File
		} else if len(j.fit) > 0 && (slices.Contains(j.bare, s.Library) && errs[i] == nil ||
			result.Status == Skipped || result.Status == Already ||
			errors.Is(errs[i], ErrForeign)) {
			// nothing to take out before the live patch, or its own result says it: not worth a
			// word
			continue
		}
		if result.Status == Changed {
			j.done[j.key(s)] = result
		}
		again = again.or(passing(errs[i]))
		rep.Results = append(rep.Results, result)
	}
	j.addEarlier(rep, steps)
	if j.o.Every {
		j.addOthers(rep)
	}
	if j.o.BadFiles {
		for _, bad := range j.o.Containers.Bad {
			rep.Results = append(rep.Results, Result{Step: Step{Kind: Apply}, File: bad.File,
				Status: Failed, Err: bad})
		}
	}
	return again
}

// addEarlier adds the results of earlier attempts.
func (j *job) addEarlier(rep *Report, steps []Step) {
	now := make(map[string]bool, len(steps))
	for _, s := range steps {
		now[j.key(s)] = true
	}
	var earlier []Result
	for key, result := range j.done {
		if !now[key] {
			earlier = append(earlier, result)
		}
	}
	slices.SortFunc(earlier, func(a, b Result) int {
		return naturally(j.key(a.Step), j.key(b.Step))
	})
	rep.Results = append(earlier, rep.Results...)
}

// addOthers adds a result for each container that is not for the process.
func (j *job) addOthers(rep *Report) {
	for _, c := range j.o.Containers.List {
		if !slices.Contains(j.fit, c) {
			err := notFor(c, j.view.Libraries)
			rep.Results = append(rep.Results, Result{Step{Apply, c.Target().Name, c}, c.File,
				Skipped, err})
		}
	}
}

// String names the step for a person.
func (s Step) String() string {
	if s.Kind == CleanUp {
		return s.Kind.String()
	}
	if s.Container == nil {
		return fmt.Sprintf("%s of %s", s.Kind, s.Library)
	}
	return fmt.Sprintf("%s %s", s.Kind, s.Container.File)
}
