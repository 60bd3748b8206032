package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/internal/program"
	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// What the engines are called.
const (
	libpulpName = "libpulp"
	nativeName  = "native"
)

// ForeignError says that another engine is at work where a live patch is to go. It is an
// ErrForeign, and nothing was touched: two engines that both lead a function elsewhere would each
// take the other's jump for the original when they revert.
type ForeignError struct {
	Library string
	// that is led elsewhere already; "" if it is about all live patches of the library
	Function   string
	Engine     string // "libpulp" or "native"
	Unfinished bool   // the engine was killed before its last write, which may be to any function
	// the function is not led elsewhere any more, but a thread may still be where it was led to
	Former bool
}

// Error says which engine, and what to do.
func (e *ForeignError) Error() string { return program.Text(e.text()) }

func (e *ForeignError) text() string {
	engine, option := "libpulp's engine", "pulp"
	if e.Engine == nativeName {
		engine, option = "the native engine", "native"
	}
	switch {
	case e.Former && e.Engine == nativeName:
		return fmt.Sprintf("a former live patch of %q of %s by %s is still in memory, and a "+
			"thread may be in it: give it back first (lpbuild revert "+
			"--leftovers)", e.Function, e.Library, engine)
	case e.Former:
		return fmt.Sprintf("a former live patch of %q of %s by %s is still in memory, and a "+
			"thread may be in it: leave it to that engine (--engine=%s), or do without "+
			"--consistency=functions", e.Function, e.Library,
			engine, option)
	case e.Unfinished:
		return fmt.Sprintf("%s has not finished its work in the process: let it (lpbuild trigger "+
			"--engine=%s)", engine, option)
	case e.Function == "":
		return fmt.Sprintf("%s has live patches of %s: revert them first (lpbuild revert "+
			"--engine=%s)", e.Library, engine, option)
	}
	return fmt.Sprintf("%q of %s is patched by %s already: revert that first (lpbuild revert "+
		"--engine=%s)", e.Function, e.Library, engine, option)
}

// Is makes every ForeignError an ErrForeign.
func (e *ForeignError) Is(target error) bool { return target == ErrForeign }

// known is what has been found out about a process for any of the engines, once.
type known struct {
	runtime    *libpulp.Runtime
	runtimeErr error // nil with runtime nil: not asked yet

	injected []native.AppliedPatch
	left     native.Leftover
	asked    bool
}

// libpulp finds libpulp.so in the process. The error is that of [libpulp.Find].
func (v *View) libpulp(ctx context.Context) (*libpulp.Runtime, error) {
	k := &v.known
	if k.runtime == nil && k.runtimeErr == nil {
		r, err := libpulp.Find(ctx, v.Process, v.Memory, v.Libraries)
		if ctx.Err() != nil { // it says nothing about the process
			return nil, cmp.Or(err, ctx.Err())
		}
		k.runtime, k.runtimeErr = r, err
	}
	return k.runtime, k.runtimeErr
}

// injected returns what the native engine has in the process, the newest first, with what is not
// active any more.
func (v *View) injected(ctx context.Context) ([]native.AppliedPatch, error) {
	k := &v.known
	if k.asked {
		return k.injected, nil
	}
	there, err := native.Present(ctx, v.Memory)
	if err != nil {
		return nil, err
	}
	if there {
		seen, err := native.NewView(ctx, v.Process, v.Memory, v.Libraries)
		if err != nil {
			return nil, err
		}
		return v.seen(seen), nil
	}
	k.asked = true
	return nil, nil
}

// seen notes what the native engine has found, and returns it as injected does.
func (v *View) seen(by *native.View) []native.AppliedPatch {
	list := by.List()
	slices.Reverse(list)
	v.known.injected, v.known.left, v.known.asked = list, by.Leftover(), true
	return list
}

// blocked returns an ErrBlocked if libpulp.so is in the process and was told to take no live
// patches. A libpulp.so that has nothing to tell, as that of an old version, does not count; one
// that cannot be read is an error.
func (v *View) blocked(ctx context.Context) error {
	r, err := v.libpulp(ctx)
	var s libpulp.State
	if err == nil {
		s, err = r.State(ctx)
	}
	if err == nil && s.Code == libpulp.ErrBlocked {
		return fmt.Errorf("%w: libpulp.so is disabled in the process", ErrBlocked)
	}
	if _, answer := errors.AsType[*libpulp.Error](err); answer || err == nil ||
		errors.Is(err, process.ErrMalformed) {
		return ctx.Err()
	}
	return err
}

// notNative returns why libpulp's engine must not put a live patch into the process because of the
// native one: it is an ErrApplied if that applied it, or a ForeignError. alone says that the
// library shall have no other live patch afterwards, and where that no thread may be in former
// code, of which each engine knows its own only.
func (v *View) notNative(ctx context.Context, c *Container, alone bool, where Consistency) error {
	list, err := v.injected(ctx)
	if err != nil {
		return nativeError(err)
	}
	t := c.Target()
	for _, a := range list {
		if !slices.Equal(a.Target.BuildID, t.BuildID) || !a.Active &&
			where != ConsistencyFunctions {
			continue
		}
		if a.Active && a.ID == c.Patch.Metadata.PatchID {
			return appliedBy("the native engine")
		}
		for _, f := range c.Patch.Metadata.Functions {
			if slices.ContainsFunc(a.Functions, func(have ulp.Function) bool {
				return have.OldValue == f.OldValue || have.OldValue == 0
			}) {
				return &ForeignError{Library: t.Name, Function: f.Old, Engine: nativeName,
					Former: !a.Active}
			}
		}
		if a.Active && alone {
			return &ForeignError{Library: t.Name, Engine: nativeName}
		}
	}
	return nil
}

// notLibpulp is notNative for the native engine.
func (v *View) notLibpulp(ctx context.Context, c *Container, alone bool, where Consistency) error {
	r, err := v.libpulp(ctx)
	switch _, answer := errors.AsType[*libpulp.Error](err); {
	case answer, errors.Is(err, process.ErrMalformed):
		// without libpulp.so, or with one that has nothing to tell, entries are all that counts
		return ctx.Err()
	case err != nil:
		return pulpError(err)
	}
	list, err := r.Applied(ctx)
	if err != nil {
		return pulpError(err)
	}
	t := c.Target()
	for _, a := range list {
		if a.Target == nil || !slices.Equal(a.Target.BuildID, t.BuildID) {
			continue
		}
		if a.ID == c.Patch.Metadata.PatchID {
			return appliedBy("libpulp's engine")
		}
		for _, f := range c.Patch.Metadata.Functions {
			if slices.ContainsFunc(a.Functions, func(s libpulp.Switched) bool {
				return s.Old == a.Target.Bias+f.OldValue
			}) {
				return &ForeignError{Library: t.Name, Function: f.Old, Engine: libpulpName}
			}
		}
		if alone {
			return &ForeignError{Library: t.Name, Engine: libpulpName}
		}
	}
	if s, err := r.State(ctx); err == nil && s.Pending > 0 {
		return &ForeignError{Library: t.Name, Engine: libpulpName, Unfinished: true}
	}
	if where == ConsistencyFunctions {
		return cmp.Or(v.noFormer(ctx, r, c), ctx.Err())
	}
	return ctx.Err()
}

// noFormer returns a ForeignError if libpulp.so has loaded a live patch of one of the functions,
// which it never unloads.
func (v *View) noFormer(ctx context.Context, r *libpulp.Runtime, c *Container) error {
	t := c.Target()
	for _, l := range v.Libraries {
		if !slices.Equal(l.BuildID, t.BuildID) {
			continue
		}
		for _, f := range c.Patch.Metadata.Functions {
			switch there, err := r.Former(ctx, l.Bias+f.OldValue); {
			case err != nil:
				return pulpError(err)
			case there:
				return &ForeignError{Library: t.Name, Function: f.Old, Engine: libpulpName,
					Former: true}
			}
		}
	}
	return nil
}

// appliedBy is an ErrApplied that names the engine.
func appliedBy(engine string) error {
	return &engineError{errors.New(ErrApplied.Error() + ", by " + engine), ErrApplied}
}
