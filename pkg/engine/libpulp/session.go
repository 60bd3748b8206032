package libpulp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// Session is a process all of whose threads are stopped. It is good inside [Runtime.Stop]'s
// function only, and not for several goroutines.
type Session struct {
	// Finished says that Do found and finished what an engine that was killed had begun.
	Finished bool

	r      *Runtime
	t      *tracer.Tracee
	rd     memory // without a context: what has begun is ended
	thread *tracer.Thread
}

// Stop stops all threads of the process, calls f, and lets them go, whatever happens in f. It
// returns how long the process was stopped. o.Gadgets are found here. The error is f's; or that of
// package tracer; or an [*Error] with [ErrAgain] and [ErrChanged] if the process is not any more
// the one, or does not run the program any more, that [Find] saw.
func (r *Runtime) Stop(ctx context.Context, o tracer.Options,
	f func(*Session) error) (time.Duration, error) {
	g, err := r.gadgets(memory{ctx, r.mem})
	if err != nil {
		return 0, err
	}
	o.Gadgets = g
	return tracer.Run(ctx, r.pid, o, func(t *tracer.Tracee) error {
		s := &Session{r: r, t: t, rd: memory{context.Background(), r.mem}}
		// The address space that Find opened is alive, and all threads of the process with this
		// number are stopped: the process is the same, and has not executed another program.
		if _, err := word(s.rd, r.sym.state); err != nil {
			return fault(ErrAgain, errors.Join(ErrChanged, err), "another process or program")
		}
		return f(s)
	})
}

// Do carries a plan out: each patch wholly or not at all, one after the other; if it takes several,
// and one of them fails, those before it stay, and another plan goes on from there. The error is
// nil; an [*Error] with [ErrAgain] (and [ErrChanged] if it takes a new plan) when it is worth
// trying again after the process has run for a while; one with libpulp.so's code; one with
// [ErrRefused] or [ErrUnfinished]; or that of package tracer.
func (s *Session) Do(ctx context.Context, plan *Plan) error {
	if plan.Finish {
		if err := s.finish(plan); err != nil || plan.reached {
			return err
		}
		return fault(ErrAgain, ErrChanged, "what was left unfinished before is finished now")
	}
	if err := s.unchanged(plan); err != nil {
		return err
	}
	if err := s.outside(plan); err != nil {
		return err
	}
	steps := []func() error{
		func() error { return s.applyIf(ctx, plan) },
		func() error { return s.revertEach(ctx, plan) },
	}
	if plan.revertFirst {
		slices.Reverse(steps)
	}
	for _, do := range steps {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// applyIf applies the plan's patch, if there is one. If patches were reverted before, entries have
// changed since the plan.
func (s *Session) applyIf(ctx context.Context, plan *Plan) error {
	if plan.Apply == nil {
		return nil
	}
	for i := range plan.places {
		if p := &plan.places[i]; plan.revertFirst && len(plan.Revert) > 0 {
			was, err := s.r.entry(s.rd.ctx, p.entry)
			if err != nil {
				return err
			}
			p.was = was
		}
	}
	return s.apply(ctx, plan)
}

func (s *Session) revertEach(ctx context.Context, plan *Plan) error {
	for i := range plan.Revert {
		if err := s.revert(ctx, plan, &plan.Revert[i]); err != nil {
			return err
		}
	}
	return nil
}

// unchanged compares what the plan was made of with what is there now.
func (s *Session) unchanged(plan *Plan) error {
	now, err := s.r.state(s.rd)
	if err != nil {
		return err
	}
	if now != plan.state {
		return fault(ErrAgain, ErrChanged, "libpulp.so's state")
	}
	for _, p := range slices.Concat(plan.places, plan.others) {
		b := make([]byte, len(p.was.Before)+len(p.was.After))
		if err := s.rd.read(b, p.entry-uint64(len(p.was.Before))); err != nil ||
			!bytes.Equal(b, slices.Concat(p.was.Before, p.was.After)) {
			return fault(ErrAgain, errors.Join(ErrChanged, err), "entry of %q", p.name)
		}
	}
	return nil
}

// Check asks libpulp.so whether a patch is applied. [Runtime.Applied] tells the same without a
// stop.
func (s *Session) Check(ctx context.Context, id [32]byte) (bool, error) {
	code, err := s.call(ctx, s.r.sym.check, id[:])
	if err == nil {
		err = s.forget(id[:])
	}
	return err == nil && code == 1, err
}

// SetPatchable lets the process be patched or not. changed is false if it was so already. The error
// is an [*Error] with [ErrOldLibpulp] for a version that has no such switch, or with the code at
// which libpulp.so stopped working; see also [Session.Do].
func (s *Session) SetPatchable(ctx context.Context, on bool) (changed bool, err error) {
	if s.r.sym.toggle == 0 || s.r.sym.errorState == 0 {
		return false, verdict(ErrOldLibpulp, "it cannot be switched off")
	}
	want := map[bool]Code{true: 0, false: ErrBlocked}[on]
	now, err := s.r.state(s.rd)
	switch {
	case err != nil:
		return false, err
	case now.Code == want:
		return false, nil
	case now.Code != 0 && now.Code != ErrBlocked:
		return false, now.usable()
	}
	code, err := s.call(ctx, s.r.sym.toggle, nil)
	if err == nil && code != want {
		err = &Error{Code: code}
	}
	return err == nil, err
}

// call writes what a function of libpulp.so shall find in its buffer, and calls it.
func (s *Session) call(ctx context.Context, entry uint64, data []byte) (Code, error) {
	fn, err := s.r.function(s.rd, entry)
	if err != nil {
		return 0, err
	}
	if s.thread == nil {
		s.thread = s.t.Pick()
	}
	if err := s.write(write{s.r.sym.metadata, data}); err != nil {
		return 0, err
	}
	began := time.Now()
	v, err := s.t.Call(ctx, s.thread, fn)
	if spent != nil {
		spent(time.Since(began))
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return 0, fault(ErrUnknown, errors.Join(ErrUnfinished, err), "libpulp.so still works")
	}
	return Code(int32(v)), err
}

// forget empties libpulp.so's buffer where it did not do so itself.
func (s *Session) forget(data []byte) error {
	return s.write(write{s.r.sym.metadata, make([]byte, len(data))})
}

func (s *Session) write(w write) error {
	if len(w.data) == 0 {
		return nil
	}
	if onWrite != nil {
		onWrite("write")
	}
	if _, err := s.t.Memory().WriteAt(w.data, int64(w.addr)); err != nil {
		return fmt.Errorf("writing %d bytes at %#x: %w", len(w.data), w.addr, err)
	}
	return nil
}

// Tests' hooks: called before each write, and with the time that each call took.
var (
	onWrite func(name string)
	spent   func(time.Duration)
)
