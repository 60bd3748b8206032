package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// Libpulp is the engine for processes that have libpulp.so loaded. The zero value works.
type Libpulp struct {
	// Prefix is put before the paths of containers that processes are told.
	Prefix string
	// Consistency says where threads may be meanwhile.
	Consistency Consistency
	// SuspendSeccomp lifts the seccomp filters of a process while it is patched. It needs
	// CAP_SYS_ADMIN.
	SuspendSeccomp bool
	// CallTimeout is the time that one call into libpulp.so may take; 0 means the time of the
	// process.
	CallTimeout time.Duration
	// MaxStop is how long threads may be stopped until the last one has stopped; 0 means one
	// second. A call into libpulp.so is not broken off.
	MaxStop time.Duration
}

// Name returns "libpulp".
func (*Libpulp) Name() string { return libpulpName }

// Anywhere returns false: only processes that preload libpulp.so have it.
func (*Libpulp) Anywhere() bool { return false }

// Open finds libpulp.so in a process.
func (b *Libpulp) Open(ctx context.Context, v *View) (Target, error) {
	t, err := b.open(ctx, v)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (b *Libpulp) open(ctx context.Context, v *View) (*pulpTarget, error) {
	r, err := v.libpulp(ctx)
	if errors.Is(err, libpulp.ErrNotLoaded) {
		return nil, &engineError{errors.New("libpulp is not loaded in the process"), ErrNoEngine}
	}
	if err != nil {
		return nil, pulpError(err)
	}
	if v.userDisabled(ctx) {
		return nil, &engineError{errors.New("libpulp.so is disabled by the environment of a user " +
			"who does not have the rights of the process: it can be patched with --engine=auto " +
			"or native"), ErrNoEngine}
	}
	return &pulpTarget{b: b, v: v, r: r}, nil
}

// Unsure returns [ErrUnsure] for a process with seccomp filters: libpulp.so runs in a thread that
// has all of them.
func (b *Libpulp) Unsure(_ context.Context, v *View) error {
	if v.Process.Seccomp == process.SeccompNone || b.SuspendSeccomp {
		return nil
	}
	return ErrUnsure
}

// Remains returns nil: libpulp.so unloads what it reverts.
func (*Libpulp) Remains(context.Context, *View) (*Remains, error) { return nil, nil }

// pulpTarget is libpulp.so in one process.
type pulpTarget struct {
	b *Libpulp
	v *View
	r *libpulp.Runtime
}

func (*pulpTarget) Close() {} // what is open is the view's

func (t *pulpTarget) Alone() error {
	other, _, err := sharers.With(t.v.Process)
	if other != 0 {
		return &AgainError{Err: fmt.Errorf("%w: process %d", ErrShared, other)}
	}
	return err
}

// Replaceable returns false: libpulp.so replaces functions with NOPs only.
func (*pulpTarget) Replaceable(context.Context, *rtld.Library) (bool, error) { return false, nil }

// CleanUp has nothing to do: see [Libpulp.Remains].
func (*pulpTarget) CleanUp(context.Context) (all bool, stop time.Duration, err error) {
	return true, 0, nil
}

func (t *pulpTarget) Version() string { return t.r.Version }

func (t *pulpTarget) Enabled(ctx context.Context) error {
	s, err := t.r.State(ctx)
	switch {
	case err != nil:
		return pulpError(err)
	case !s.Loaded:
		return &AgainError{Err: ErrNotReady}
	case s.Code != 0:
		return pulpError(&libpulp.Error{Code: s.Code,
			Detail: "libpulp.so is in an error state in this process"})
	}
	return nil
}

func (t *pulpTarget) Applied(ctx context.Context) ([]Applied, error) {
	list, err := t.r.Applied(ctx)
	if err != nil {
		return nil, pulpError(err)
	}
	applied := make([]Applied, len(list))
	for i := range list {
		a := &list[i]
		applied[i] = Applied{ID: a.ID, Library: a.Library, Container: a.Container, Time: a.Time,
			Functions: len(a.Functions), Engine: t.b.Name()}
	}
	return applied, nil
}

func (t *pulpTarget) Comments(ctx context.Context, a *Applied) (string, error) {
	return t.r.Comments(ctx, &libpulp.Applied{ID: a.ID, Container: a.Container})
}

// pulpPlan are the steps of one stop. libpulp.so takes patches one by one, and each plan of package
// libpulp is for one: the first is made before the stop, the others are made again within it,
// after those that came before.
type pulpPlan struct {
	t        *pulpTarget
	steps    []Step
	plans    []*libpulp.Plan
	verdicts []error
}

func (t *pulpTarget) Plan(ctx context.Context, steps []Step) (Plan, error) {
	p := &pulpPlan{t: t, steps: steps, plans: make([]*libpulp.Plan, len(steps)),
		verdicts: make([]error, len(steps))}
	for i := range steps {
		if p.coveredByApply(i) {
			continue
		}
		plan, err := p.make(ctx, i)
		if errors.Is(err, process.ErrChanged) || errors.Is(err, process.ErrGone) ||
			ctx.Err() != nil {
			return nil, pulpError(cmp.Or(err, ctx.Err()))
		}
		p.plans[i], p.verdicts[i] = plan, pulpError(err)
		if errors.Is(err, libpulp.ErrApplied) && p.revertsBefore(i) &&
			i != p.firstApply(steps[i].Library) {
			p.verdicts[i] = nil // it is taken out with the others, and comes again
		}
	}
	for i := range steps {
		if p.coveredByApply(i) { // the library's patches go when the first new one comes
			p.verdicts[i] = p.verdicts[p.firstApply(steps[i].Library)]
		}
	}
	return p, nil
}

// make plans one step.
func (p *pulpPlan) make(ctx context.Context, i int) (*libpulp.Plan, error) {
	plan, err := p.plain(ctx, i)
	if err == nil && p.t.b.Consistency == ConsistencyFunctions {
		err = p.t.r.Outside(ctx, plan)
	}
	return plan, err
}

func (p *pulpPlan) plain(ctx context.Context, i int) (*libpulp.Plan, error) {
	s := p.steps[i]
	switch {
	case s.Kind == RevertAll:
		return p.t.r.PlanRevertAll(ctx, s.Library)
	case s.Container.pulpErr != nil:
		return nil, s.Container.pulpErr
	case s.Kind == Revert:
		return p.t.r.PlanRevert(ctx, s.Container.pulp.ID())
	}
	if err := p.t.v.notNative(ctx, s.Container, p.revertsBefore(i), p.t.b.Consistency); err != nil {
		return nil, err
	}
	if p.revertsBefore(i) && i == p.firstApply(s.Library) {
		return p.t.r.PlanReplace(ctx, s.Container.pulp, p.t.path(s.Container), s.Library)
	}
	return p.t.r.PlanApply(ctx, s.Container.pulp, p.t.path(s.Container))
}

// revertsBefore reports whether all patches of a step's library are to be taken out.
func (p *pulpPlan) revertsBefore(i int) bool {
	return revertsBefore(p.steps[:i], p.steps[i].Library)
}

// revertsBefore reports whether one of some steps takes all patches of a library out.
func revertsBefore(steps []Step, library string) bool {
	return slices.ContainsFunc(steps, func(s Step) bool {
		return s.Kind == RevertAll && s.Library == library
	})
}

// firstApply returns the first patch that comes to a library, -1 if none does.
func (p *pulpPlan) firstApply(library string) int {
	return slices.IndexFunc(p.steps, func(s Step) bool {
		return s.Kind == Apply && s.Library == library
	})
}

// coveredByApply reports whether a RevertAll is a part of the step that applies the first new patch
// of the library: so the process is never without the old one and without the new one.
func (p *pulpPlan) coveredByApply(i int) bool {
	return p.steps[i].Kind == RevertAll && p.firstApply(p.steps[i].Library) > i
}

// path returns the container's path as the process sees it.
func (t *pulpTarget) path(c *Container) string {
	switch root := t.v.Process.Root; {
	case root == "/proc":
		return "/1/root/" + t.b.Prefix + c.Path
	case t.b.Prefix == "" && root != "" && root != "/" && strings.HasPrefix(c.Path, root+"/"):
		return c.Path[len(root):]
	}
	return t.b.Prefix + c.Path
}

func (p *pulpPlan) Verdicts() []error { return p.verdicts }

func (p *pulpPlan) Do(ctx context.Context) (Done, error) {
	done := Done{Errs: slices.Clone(p.verdicts)}
	begun := false
	stop, err := p.t.r.Stop(ctx, tracer.Options{SuspendSeccomp: p.t.b.SuspendSeccomp,
		MaxStop: p.t.b.MaxStop}, func(s *libpulp.Session) error {
		begun = true
		p.session(ctx, s, done.Errs)
		return nil
	})
	done.Stop = stop
	switch {
	case err != nil && !begun:
		return Done{Stop: stop}, pulpError(err)
	case err != nil: // of letting the process go: what was done is done
		for i := range done.Errs {
			if done.Errs[i] == nil {
				done.Errs[i] = pulpError(err)
			}
		}
	}
	return done, nil
}

// session carries out the steps, all under one stop. The first that fails ends it, since the next
// may build on it.
func (p *pulpPlan) session(ctx context.Context, s *libpulp.Session, errs []error) {
	first := true
	var failed error
	for i := range p.steps {
		switch {
		case errs[i] != nil || p.coveredByApply(i):
		case failed != nil:
			errs[i] = failed
		default:
			failed = pulpError(p.step(ctx, s, i, first))
			errs[i], first = failed, false
		}
	}
	for i := range p.steps {
		if p.coveredByApply(i) {
			errs[i] = errs[p.firstApply(p.steps[i].Library)]
		}
	}
}

func (p *pulpPlan) step(ctx context.Context, s *libpulp.Session, i int, first bool) error {
	plan := p.plans[i]
	if !first || plan == nil {
		var err error
		if plan, err = p.make(ctx, i); err != nil {
			return err
		}
	}
	if p.t.b.CallTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.t.b.CallTimeout)
		defer cancel()
	}
	return s.Do(ctx, plan)
}

// pulpErrors are what answers of libpulp.so mean here.
var pulpErrors = map[libpulp.Code]error{
	libpulp.ErrBuildID: ErrBuildID, libpulp.ErrNotApplied: ErrNotApplied,
	libpulp.ErrApplied: ErrApplied, libpulp.ErrNoTarget: ErrNotLoaded,
	libpulp.ErrBlocked: ErrBlocked, libpulp.ErrNoPatches: ErrNoPatches,
	libpulp.ErrNoMetadata: ErrNoMetadata,
}

// pulpError adds this package's errors to those of packages libpulp, tracer and process.
func pulpError(err error) error {
	switch {
	case err == nil:
		return nil
	case tracedByUs(err):
		return &AgainError{Err: fmt.Errorf("%w: an earlier attempt still waits for it",
			tracer.ErrNotStopping), Unreached: true}
	case errors.Is(err, libpulp.ErrInUse):
		e, _ := errors.AsType[*libpulp.Error](err)
		return inUse(e.Detail)
	case errors.Is(err, libpulp.ErrAgain), errors.Is(err, libpulp.ErrChanged),
		errors.Is(err, process.ErrChanged),
		errors.Is(err, process.ErrBusy), errors.Is(err, tracer.ErrTraced),
		errors.Is(err, tracer.ErrExec):
		return &AgainError{Err: err}
	case errors.Is(err, tracer.ErrNotStopping):
		return &AgainError{Err: err, Unreached: true}
	case errors.Is(err, tracer.ErrGone):
		return &engineError{err, process.ErrGone}
	case errors.Is(err, tracer.ErrPermission):
		return &engineError{err, ErrPermission}
	case forbids(err):
		return filtered(err)
	}
	if e, ok := errors.AsType[*libpulp.Error](err); ok {
		if meaning := pulpErrors[e.Code]; meaning != nil {
			return &engineError{err, meaning}
		}
	}
	return err
}

// tracedByUs reports whether the tracer that has a process is a thread of ours, of an attempt that
// is not over yet.
func tracedByUs(err error) bool {
	e, ok := errors.AsType[*tracer.Error](err)
	if !ok || !errors.Is(e, tracer.ErrTraced) || e.Tracer <= 0 {
		return false
	}
	return ourThread(e.Tracer)
}

// engineError is an error in an engine's words, with its meaning for callers.
type engineError struct{ err, meaning error }

// Error returns the meaning and what the engine has to say besides.
func (e *engineError) Error() string {
	if p, ok := errors.AsType[*libpulp.Error](e.err); ok {
		if more := strings.TrimPrefix(p.Error(), p.Code.Error()); more != "" {
			return e.meaning.Error() + more
		}
		return e.meaning.Error()
	}
	return e.err.Error()
}

// Unwrap returns both.
func (e *engineError) Unwrap() []error { return []error{e.err, e.meaning} }
