package libpulp

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Plan is what is to be done to one process: the result of looking at it, for [Session.Do]. Nothing
// has happened yet.
type Plan struct {
	// Apply is the patch to be applied, nil if none is.
	Apply *Patch
	// Revert are the patches to be reverted, the newest first; after Apply, if there is one.
	Revert []Applied
	// Finish means that an engine was killed before its last write: Session.Do carries out what is
	// missing, and nothing else. If the patch that was asked for is not applied by that, it returns
	// [ErrChanged].
	Finish bool

	target  *rtld.Library
	path    string
	places  []place // of Apply's functions
	others  []place // of those of the patches to be reverted
	state   State
	reached bool // with Finish: what was asked for is done then

	padded map[uint64]bool // functions to be reverted that had NOPs before them
	zones  []zone          // see Outside
	stacks []tracer.Range  // writable mappings, if there are zones

	revertFirst bool // before Apply: an early libpulp.so cannot do otherwise
}

// place is a function that is to be switched.
type place struct {
	name  string
	entry uint64
	was   *process.Prologue
}

// landing reports whether the entry begins with endbr64.
func (p place) landing() bool { return p.was.Landing }

// PlanApply decides whether a patch can be applied: state, target by its build-id as mapped, each
// function's entry, dependencies. path is that of the container as the process sees it. The error
// is an [*Error]: [ErrApplied] if there is nothing to do, [ErrNoTarget] or [ErrBuildID] if the
// patch is not for this process, [ErrNotPatchable], [ErrDependency], [ErrBlocked] and so on if it
// can not be; or that of package process.
func (r *Runtime) PlanApply(ctx context.Context, p *Patch, path string) (*Plan, error) {
	return r.planApply(ctx, p, path, nil)
}

// PlanReplace is PlanApply, and reverts all other patches of a library in the same stop; library ""
// is that of the patch. If the patch is applied already, only the others are reverted.
func (r *Runtime) PlanReplace(ctx context.Context, p *Patch, path, library string) (*Plan, error) {
	if library == "" {
		library = p.Metadata.Target.Name
	}
	return r.planApply(ctx, p, path, func(a *Applied) bool {
		return a.Library == library && a.ID != p.ID()
	})
}

func (r *Runtime) planApply(ctx context.Context, p *Patch, path string,
	old func(*Applied) bool) (*Plan, error) {
	plan, seen, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	return r.steady(ctx, plan, seen, r.fillApply(ctx, plan, seen.patches, p, path, old))
}

// fillApply makes a plan one that applies a patch.
func (r *Runtime) fillApply(ctx context.Context, plan *Plan, applied []Applied, p *Patch,
	path string, old func(*Applied) bool) (err error) {
	isApplied := indexOf(applied, p.ID()) >= 0
	if old != nil {
		if plan.Revert, err = r.reverted(ctx, plan, applied, old); err != nil {
			return err
		}
	}
	if plan.Finish {
		plan.reached = isApplied && len(plan.Revert) == 0
		return nil
	}
	if plan.target, err = r.target(p); err != nil {
		return err
	}
	if isApplied {
		if len(plan.Revert) == 0 {
			return &Error{Code: ErrApplied}
		}
		return nil
	}
	plan.Apply, plan.path = p, path
	if _, err := p.metadata(path, false, r.sym.buffer); err != nil {
		return err
	}
	for _, id := range p.Metadata.Dependencies {
		if indexOf(applied, id) < 0 || indexOf(plan.Revert, id) >= 0 {
			return verdict(ErrDependency, "patch %x is not applied, or would be reverted", id)
		}
	}
	if err := r.sameFile(p, path); err != nil {
		return err
	}
	return r.findPlaces(ctx, plan, applied)
}

// PlanRevert decides whether a patch can be reverted. The error is an [*Error]: [ErrNotApplied],
// [ErrDependency] if another patch depends on it; or as for PlanApply.
func (r *Runtime) PlanRevert(ctx context.Context, id [32]byte) (*Plan, error) {
	plan, seen, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	applied := seen.patches
	i := indexOf(applied, id)
	if plan.Finish {
		plan.reached = i < 0
		return plan, nil
	}
	if i < 0 {
		return nil, &Error{Code: ErrNotApplied}
	}
	plan.Revert, err = r.reverted(ctx, plan, applied, func(a *Applied) bool { return a.ID == id })
	return r.steady(ctx, plan, seen, err)
}

// PlanRevertAll decides whether all patches of a library can be reverted; library is a base name.
// The error is an [*Error]: [ErrNoPatches] if there are none, [ErrNoTarget] if there is no such
// library either; or as for PlanRevert.
func (r *Runtime) PlanRevertAll(ctx context.Context, library string) (*Plan, error) {
	plan, seen, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	if plan.Revert, err = r.reverted(ctx, plan, seen.patches, func(a *Applied) bool {
		return a.Library == library
	}); err != nil {
		return r.steady(ctx, plan, seen, err)
	}
	switch {
	case plan.Finish:
		plan.reached = len(plan.Revert) == 0
	case len(plan.Revert) > 0:
	case slices.ContainsFunc(r.Libraries, func(l *rtld.Library) bool { return named(l, library) }):
		return nil, &Error{Code: ErrNoPatches}
	default:
		return nil, &Error{Code: ErrNoTarget}
	}
	return plan, nil
}

// begin reads what every plan needs.
func (r *Runtime) begin(ctx context.Context) (*Plan, list, error) {
	rd := memory{ctx, r.mem}
	plan := &Plan{}
	var err error
	if plan.state, err = r.state(rd); err != nil {
		return nil, list{}, err
	}
	if err := plan.state.usable(); err != nil {
		return nil, list{}, err
	}
	if plan.Finish = plan.state.Pending > 0; plan.Finish {
		if plan.padded, err = r.paddedLeft(ctx); err != nil {
			return nil, list{}, err
		}
	}
	seen, err := r.list(rd)
	return plan, seen, err
}

// steady makes an [ErrChanged] of a verdict that was made of a list which is not the list any more:
// another engine was at work between the look at the list and that at the functions.
func (r *Runtime) steady(ctx context.Context, plan *Plan, seen list, err error) (*Plan, error) {
	if err == nil {
		return plan, nil
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		return nil, err
	}
	rd := memory{ctx, r.mem}
	state, stateErr := r.state(rd)
	now, listErr := r.list(rd)
	if stateErr != nil || listErr != nil || state != plan.state || !bytes.Equal(now.raw, seen.raw) {
		return nil, fault(ErrAgain, ErrChanged, "another engine is at work")
	}
	return nil, err
}

func indexOf(list []Applied, id [32]byte) int {
	return slices.IndexFunc(list, func(a Applied) bool { return a.ID == id })
}

// reverted returns the patches that are to go, if they can.
func (r *Runtime) reverted(ctx context.Context, plan *Plan, applied []Applied,
	goes func(*Applied) bool) ([]Applied, error) {
	var list []Applied
	for i := range applied {
		if goes(&applied[i]) {
			list = append(list, applied[i])
		}
	}
	if plan.Finish {
		return list, nil // what is left in the queue is done first, and then all is looked at again
	}
	if err := independent(applied, list); err != nil {
		return nil, err
	}
	if r.early() && !slices.EqualFunc(applied[:len(list)], list, func(a, b Applied) bool {
		return a.ID == b.ID
	}) {
		return nil, verdict(ErrOldLibpulp, "it can revert none but the newest patch")
	}
	plan.revertFirst = r.early()
	var entries []uint64
	for i := range list {
		for _, f := range list[i].Functions {
			was, err := r.entry(ctx, f.Old)
			if err == nil {
				err = patchable(list[i].Name(), f.Old, was, applied)
			}
			if err != nil {
				return nil, err
			}
			plan.others = append(plan.others, place{list[i].Name(), f.Old, was})
			entries = append(entries, f.Old)
		}
	}
	var err error
	plan.padded, err = r.padded(ctx, entries)
	return list, err
}

// independent refuses to revert patches on which others depend that stay, or that would go later:
// the order is that of the list, the newest first. libpulp.so's own function for all patches of a
// library would never return then.
func independent(applied, goes []Applied) error {
	for i := range applied {
		for _, id := range applied[i].Dependencies {
			needs, needed := indexOf(goes, applied[i].ID), indexOf(goes, id)
			if needed >= 0 && (needs < 0 || needs > needed) {
				return verdict(ErrDependency, "patch %x depends on it", applied[i].ID)
			}
		}
	}
	return nil
}

// entry reads the entry of a function that libpulp.so has on its list.
func (r *Runtime) entry(ctx context.Context, old uint64) (*process.Prologue, error) {
	l := r.libraryAt(old)
	if l == nil || !inCode(l, old) {
		return nil, fault(ErrState, ErrMalformed, "a function at %#x, where no code is", old)
	}
	return r.mem.Prologue(ctx, old, symtab.X86_64)
}

// named reports whether a library is what a patch calls by a base name.
func named(l *rtld.Library, name string) bool { return l.Name == name || l.SONAME == name }

// target finds the library that a patch is for.
func (r *Runtime) target(p *Patch) (*rtld.Library, error) {
	t := p.Metadata.Target
	var other *rtld.Library
	for _, l := range r.Libraries {
		switch {
		case bytes.Equal(l.BuildID, t.BuildID):
			return l, nil
		case named(l, t.Name):
			other = l
		}
	}
	if other != nil {
		return nil, verdict(ErrBuildID, "%q in the process has build-id %x, the patch is for %x",
			t.Name, other.BuildID, t.BuildID)
	}
	return nil, verdict(ErrNoTarget, "%q", t.Name)
}

// sameFile refuses a container whose path is already that of another file in the process: the
// dynamic loader would take that one, by its name.
func (r *Runtime) sameFile(p *Patch, path string) error {
	for _, l := range r.Libraries {
		if l.Path == path && !bytes.Equal(l.BuildID, p.BuildID) {
			return verdict(ErrDlopen, "the process has another file loaded by the container's "+
				"path, with build-id %x", l.BuildID)
		}
	}
	return nil
}

// findPlaces finds each function that the patch replaces, and looks whether it can be switched.
func (r *Runtime) findPlaces(ctx context.Context, plan *Plan, applied []Applied) error {
	for _, f := range plan.Apply.Metadata.Functions {
		entry := plan.target.Bias + f.OldValue
		if f.OldValue == 0 {
			syms, err := r.mem.Symbols(ctx, plan.target)
			if err != nil {
				return err
			}
			s, err := syms.Lookup(ctx, f.Old, "")
			if err != nil {
				return fault(ErrNoOldFunction, err, "%q", f.Old)
			}
			entry = s.Addr
		}
		if !inCode(plan.target, entry) {
			return verdict(ErrNotPatchable, "%q at %#x is outside of the code of %q", f.Old, entry,
				plan.target.Name)
		}
		if plan.target.Segment(entry).Perm&rtld.PermRead == 0 {
			return verdict(ErrNotPatchable, "%q is in code that cannot be read, and libpulp's "+
				"detour reads its destination there: the native engine can replace it", f.Old)
		}
		was, err := r.mem.Prologue(ctx, entry, symtab.X86_64)
		if err != nil {
			return err
		}
		if err := patchable(f.Old, entry, was, applied); err != nil {
			return err
		}
		if was.Landing && r.sym.queue == 0 && !r.knowsEndbr64(ctx) {
			return verdict(ErrOldLibpulp, "it would write over the endbr64 of %q", f.Old)
		}
		plan.places = append(plan.places, place{f.Old, entry, was})
	}
	return r.checkVersions(ctx, plan)
}

// checkVersions compares the functions that the patch replaces with what the library exports.
// libpulp.so takes the address that the patch has, whatever the name.
func (r *Runtime) checkVersions(ctx context.Context, plan *Plan) error {
	symbols, err := r.mem.Symbols(ctx, plan.target)
	if errors.Is(err, process.ErrMalformed) {
		return nil // it exports nothing
	}
	if err != nil {
		return err
	}
	functions := slices.Clone(plan.Apply.Metadata.Functions)
	for i, p := range plan.places {
		functions[i].OldValue = p.entry - plan.target.Bias
	}
	err = symbols.CheckReplaced(ctx, functions)
	switch {
	case errors.Is(err, ulp.ErrAmbiguous):
		return fault(ErrNotPatchable, err, "symbol versions")
	case errors.Is(err, ulp.ErrNoSymbol):
		return fault(ErrNoOldFunction, err, "symbol versions")
	}
	return err
}

// inCode reports whether a function's entry, and what is before it, is in code of a library.
func inCode(l *rtld.Library, entry uint64) bool {
	s := l.Segment(entry)
	return s != nil && s.Perm&rtld.PermExec != 0 && s.Perm&rtld.PermShared == 0 &&
		entry-s.Start >= jumpSize &&
		s.End-entry >= landingSize+shortSize
}

// patchable returns why a function cannot be switched: its entry is not made for it, or is a detour
// of somebody else.
func patchable(name string, entry uint64, was *process.Prologue, applied []Applied) error {
	switch was.State {
	case process.EntryNOPs:
		return nil
	case process.EntryDetour:
		for _, a := range applied {
			if slices.Contains(a.Functions, Switched{entry, was.Target}) {
				return nil
			}
		}
		return verdict(ErrNotPatchable, "%q at %#x has a detour that is not libpulp's", name, entry)
	}
	return verdict(ErrNotPatchable, "%q at %#x begins with % x", name, entry, was.After)
}
