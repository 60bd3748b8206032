package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Native is the engine for processes without libpulp.so: it loads live patches itself. The zero
// value works.
type Native struct {
	// Entries reports whether it patches functions without NOPs, where that is proven to be safe.
	// Default: what each container says.
	Entries symtab.Entries
	// Consistency says where threads may be meanwhile.
	Consistency Consistency
	// SuspendSeccomp lifts the seccomp filters of a process while it is patched. It needs
	// CAP_SYS_ADMIN.
	SuspendSeccomp bool
	// StopTimeout is the time that all threads of a process have to stop; 0 means one second.
	StopTimeout time.Duration
	// MaxStop is for how long a process may be stopped at most; 0 means no limit.
	MaxStop time.Duration

	cache native.Cache // for all processes
}

// Name returns "native".
func (*Native) Name() string { return nativeName }

// Anywhere returns true: processes need nothing for it.
func (*Native) Anywhere() bool { return true }

// Open takes every process of 64 bits that has a program of its own.
func (b *Native) Open(ctx context.Context, v *View) (Target, error) {
	switch {
	case runtime.GOARCH != "amd64":
		return nil, &engineError{errors.New("the native engine is for x86_64"), ErrNoEngine}
	case v.Process.Bits32:
		return nil,
			&engineError{errors.New("a 32-bit program: only those of 64 bits can be patched"),
				ErrNoEngine}
	}
	seen, err := b.cache.NewView(ctx, v.Process, v.Memory, v.Libraries)
	if err != nil {
		return nil, nativeError(err)
	}
	list := v.seen(seen)
	return &nativeTarget{b: b, v: v, seen: seen, list: list}, nil
}

// Unsure returns [ErrUnsure] if all threads of a process have seccomp filters: one without is
// enough.
func (b *Native) Unsure(ctx context.Context, v *View) error {
	if v.Process.Seccomp == process.SeccompNone || b.SuspendSeccomp {
		return nil
	}
	if free, err := v.Process.Unfiltered(ctx); free || err != nil {
		return err
	}
	return ErrUnsure
}

// Remains returns what the process has of live patches that do not apply any more.
func (*Native) Remains(ctx context.Context, v *View) (*Remains, error) {
	list, err := v.injected(ctx)
	if err != nil {
		return nil, err
	}
	r := &Remains{Left: v.known.left}
	for _, a := range list {
		if !a.Active {
			r.Kept = append(r.Kept, newApplied(a))
		}
	}
	return r, nil
}

// nativeTarget is one process, and what it was found to have.
type nativeTarget struct {
	b    *Native
	v    *View
	seen *native.View
	list []native.AppliedPatch // the newest first, with what is not active any more
}

func (*nativeTarget) Close()          {}
func (*nativeTarget) Version() string { return "" }

func (t *nativeTarget) Alone() error { return nativeError(t.seen.Alone()) }

// Replaceable reports whether a function without NOPs can be replaced, if the engine may do so.
func (t *nativeTarget) Replaceable(ctx context.Context, l *rtld.Library) (bool, error) {
	if t.b.Entries == symtab.EntriesNOPs {
		return false, nil
	}
	return t.seen.Replaceable(ctx, l)
}

// CleanUp is a change that reverts nothing: the next change of a process gives memory back.
func (t *nativeTarget) CleanUp(ctx context.Context) (all bool, stop time.Duration, err error) {
	plan, err := t.seen.Plan(ctx, native.Change{Revert: func(native.AppliedPatch) bool {
		return false
	}}, t.options())
	if err != nil {
		return false, 0, nativeError(err)
	}
	res, err := plan.Run(ctx)
	return err == nil && res.Retired == 0, res.Stop, nativeError(err)
}

// Enabled asks the environment of the process, as libpulp.so does, and libpulp.so itself where
// there is one: a process that opted out of live patches gets them from no engine. Neither
// counts if it is not the owner's word.
func (t *nativeTarget) Enabled(ctx context.Context) error {
	if err := t.v.optedOut(ctx); err != nil {
		return err
	}
	err := t.v.blocked(ctx)
	if errors.Is(err, ErrBlocked) && t.v.userDisabled(ctx) {
		return nil
	}
	return err
}

func (t *nativeTarget) Applied(context.Context) ([]Applied, error) {
	var list []Applied
	for _, a := range t.list {
		if a.Active {
			list = append(list, newApplied(a))
		}
	}
	return list, nil
}

// newApplied says what the native engine has in a process in this package's words.
func newApplied(a native.AppliedPatch) Applied {
	return Applied{ID: a.ID, Library: a.Target.Name, BuildID: a.Target.BuildID, Bias: a.Bias,
		Container: a.Container, Time: a.Time, Functions: len(a.Functions), Engine: nativeName}
}

func (t *nativeTarget) Comments(_ context.Context, a *Applied) (string, error) {
	i := slices.IndexFunc(t.list, func(l native.AppliedPatch) bool { return l.ID == a.ID })
	if i < 0 {
		return "", ErrNotApplied
	}
	return t.list[i].Comments, nil
}

// active returns whether a live patch that fits is active.
func (t *nativeTarget) active(fits func(native.AppliedPatch) bool) bool {
	return slices.ContainsFunc(t.list, func(a native.AppliedPatch) bool {
		return a.Active && fits(a)
	})
}

func (t *nativeTarget) options() native.Options {
	return native.Options{Consistency: native.Consistency(t.b.Consistency), Entries: t.b.Entries,
		SuspendSeccomp: t.b.SuspendSeccomp, StopTimeout: t.b.StopTimeout, MaxStop: t.b.MaxStop}
}

// nativePlan are the steps of one stop, all of which are one change.
type nativePlan struct {
	t        *nativeTarget
	steps    []Step
	verdicts []error
	plan     *native.Plan // nil: nothing is to be done
}

func (t *nativeTarget) Plan(ctx context.Context, steps []Step) (Plan, error) {
	p := &nativePlan{t: t, steps: steps, verdicts: make([]error, len(steps))}
	for i := range steps {
		p.verdicts[i] = p.verdict(ctx, i)
	}
	for i, s := range steps { // the old ones stay if none of the new ones can come
		if first := p.firstApply(s.Library); s.Kind == RevertAll && first > i &&
			!p.comes(s.Library) && !p.staysAlone(i, first) {
			p.verdicts[i] = p.verdicts[first]
		}
	}
	switch {
	case !slices.Contains(p.verdicts, nil):
		p.plan = nil
		return p, nil
	case len(steps) == 1 && p.plan != nil: // it was made to see whether it can be made
		return p, nil
	}
	var err error
	p.plan, err = t.seen.Plan(ctx, p.change(), t.options())
	return p, nativeError(err)
}

// verdict looks at one step as if it were alone.
func (p *nativePlan) verdict(ctx context.Context, i int) error {
	s := p.steps[i]
	ofLibrary := func(a native.AppliedPatch) bool { return a.Target.Name == s.Library }
	switch s.Kind {
	case RevertAll:
		switch {
		case !p.t.loaded(s.Library):
			return ErrNotLoaded
		case !p.t.active(ofLibrary) && p.firstApply(s.Library) < i:
			return ErrNoPatches
		}
		return nil
	case Revert:
		if !p.t.active(s.is) {
			return ErrNotApplied
		}
		return nil
	}
	if err := p.t.v.notLibpulp(ctx, s.Container, p.revertsBefore(i),
		p.t.b.Consistency); err != nil {
		return err
	}
	patch, err := s.Container.native()
	if err == nil {
		p.plan, err = p.t.seen.Plan(ctx, native.Change{Apply: []*native.Patch{patch}},
			p.t.options())
	}
	switch {
	case errors.Is(err, native.ErrApplied): // to all copies of the library
		return ErrApplied
	case errors.Is(err, native.ErrNoLibrary) && p.t.loaded(s.Library):
		return &engineError{err, ErrBuildID}
	}
	return nativeError(err)
}

// is reports whether a live patch is the step's container.
func (s Step) is(a native.AppliedPatch) bool {
	return s.Container != nil && a.ID == s.Container.Patch.Metadata.PatchID
}

// loaded reports whether the process has a library of that name.
func (t *nativeTarget) loaded(name string) bool { return loaded(t.v.Libraries, name) }

// revertsBefore reports whether all patches of a step's library are to be taken out.
func (p *nativePlan) revertsBefore(i int) bool {
	return revertsBefore(p.steps[:i], p.steps[i].Library)
}

// firstApply returns the first step that applies to a library, -1 if none does.
func (p *nativePlan) firstApply(library string) int {
	return slices.IndexFunc(p.steps, func(s Step) bool {
		return s.Kind == Apply && s.Library == library
	})
}

// comes reports whether a new live patch of a library can come.
func (p *nativePlan) comes(library string) bool {
	for i, s := range p.steps {
		if s.Kind == Apply && s.Library == library && p.verdicts[i] == nil {
			return true
		}
	}
	return false
}

// staysAlone reports whether the live patch of one step, which is there already, is to stay while
// others of the library, which are there as well, are taken out by another step.
func (p *nativePlan) staysAlone(revert, apply int) bool {
	return p.verdicts[revert] == nil && errors.Is(p.verdicts[apply], ErrApplied) &&
		p.t.active(func(a native.AppliedPatch) bool {
			return a.Target.Name == p.steps[apply].Library && !slices.ContainsFunc(p.steps,
				func(s Step) bool { return s.Kind == Apply && s.is(a) })
		})
}

// change joins all steps that can be done. A live patch that is to come and is there already stays
// when all others go.
func (p *nativePlan) change() native.Change {
	var c native.Change
	for i, s := range p.steps {
		if patch, err := s.patch(); p.verdicts[i] == nil && err == nil && patch != nil {
			c.Apply = append(c.Apply, patch)
		}
	}
	c.Revert = func(a native.AppliedPatch) bool {
		goes := false
		for i, s := range p.steps {
			switch {
			case s.Kind == Apply && s.is(a):
				return false
			case p.verdicts[i] == nil && (s.Kind == Revert && s.is(a) || s.Kind == RevertAll &&
				a.Target.Name == s.Library):
				goes = true
			}
		}
		return goes
	}
	return c
}

// patch returns what the step applies, nil if that is nothing.
func (s Step) patch() (*native.Patch, error) {
	if s.Kind != Apply {
		return nil, nil
	}
	return s.Container.native()
}

func (p *nativePlan) Verdicts() []error { return p.verdicts }

func (p *nativePlan) Do(ctx context.Context) (Done, error) {
	done := Done{Errs: slices.Clone(p.verdicts)}
	if p.plan == nil {
		return done, nil
	}
	res, err := p.plan.Run(ctx)
	if done.Stop = res.Stop; err != nil {
		return Done{Stop: res.Stop}, nativeError(err)
	}
	return done, nil
}

// meanings are this package's words for errors of others. The first that fits counts, that a
// process is gone before all: what else could not be done there follows from it.
var meanings = []struct{ of, is error }{
	{tracer.ErrGone, process.ErrGone}, {tracer.ErrPermission, ErrPermission},
	{process.ErrPermission, ErrPermission},
	{native.ErrApplied, ErrApplied}, {native.ErrNotApplied, ErrNotApplied},
	{native.ErrNoLibrary, ErrNotLoaded},
	{native.ErrForeign, ErrForeign},
}

// forbids reports whether a process's filter of system calls is known to be in the way. It stays,
// however often that is tried. Where the filter cannot be read nothing is known, and root may know
// more.
func forbids(err error) bool {
	return (errors.Is(err, native.ErrSeccomp) || errors.Is(err, tracer.ErrSeccomp)) &&
		!errors.Is(err, tracer.ErrFilter)
}

// filtered is forbids' error, with the way out.
func filtered(err error) error {
	return &engineError{fmt.Errorf("%w; --seccomp=suspend does it as root", err), ErrNoEngine}
}

// nativeError adds this package's errors to those of packages native, tracer and process.
func nativeError(err error) error {
	if e, ok := errors.AsType[*native.BusyError](err); ok {
		return inUse(fmt.Sprintf("thread %d is in %q, or returns into it", e.TID, e.Function))
	}
	if e, ok := errors.AsType[*native.SharedError](err); ok {
		return &AgainError{Err: fmt.Errorf("%w: process %d", ErrShared, e.PID)}
	}
	for _, e := range []error{native.ErrNoLoader, native.ErrUnlisted, tracer.ErrDispatched} {
		// whatever is done
		if errors.Is(err, e) {
			return &engineError{e, ErrNoEngine}
		}
	}
	if forbids(err) {
		return filtered(err)
	}
	for _, e := range []error{
		native.ErrAgain, native.ErrStale, process.ErrChanged, process.ErrBusy, process.ErrSilent,
		tracer.ErrTraced, tracer.ErrExec,
	} {
		if errors.Is(err, e) {
			return &AgainError{Err: err}
		}
	}
	for _, m := range meanings {
		if errors.Is(err, m.of) {
			return &engineError{err, m.is}
		}
	}
	if errors.Is(err, tracer.ErrNotStopping) || errors.Is(err, native.ErrNotRunning) ||
		errors.Is(err, native.ErrLate) {
		return &AgainError{Err: err, Unreached: true}
	}
	return err
}
