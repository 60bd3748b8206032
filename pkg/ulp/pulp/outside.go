package pulp

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// ErrInUse says that a thread is in a function that is to be switched, or will return into it.
var ErrInUse = errors.New("a thread is in a function that is replaced")

// zone is code in which no thread may be, nor have a call on its stack.
type zone struct {
	lo, hi uint64
	name   string // of the function, or of the container that has replaced it
}

// maxStackMappings is how many writable mappings are kept; the kernel allows 65,530 in all unless told otherwise.
const maxStackMappings = 1 << 17

// Outside makes a plan conditional: [Session.Do] carries it out only if no thread is in a function that it switches, nor has a
// call of it on its stack. Else it does nothing and returns an [*Error] with [ErrAgain] and [ErrInUse]. What counts is what runs
// now: the function itself, or the container that a patch has put in its place. What somebody else left unfinished is finished
// whoever is where.
func (r *Runtime) Outside(ctx context.Context, plan *Plan) error {
	applied, err := r.Applied(ctx)
	if err != nil {
		return err
	}
	for _, p := range plan.places {
		if err := r.addZone(ctx, plan, applied, p.name, p.entry); err != nil {
			return err
		}
	}
	for i := range plan.Revert {
		a := &plan.Revert[i]
		for _, f := range a.Functions {
			if runs := running(applied, f.Old); runs == nil || runs.ID != a.ID {
				continue // another patch is on top of it and stays, or goes as well
			}
			if err := r.addZone(ctx, plan, applied, a.Name(), f.Old); err != nil {
				return err
			}
		}
	}
	plan.stacks = nil
	return r.mem.Mappings(ctx, func(m process.Mapping) bool {
		if m.Perm&process.PermWrite != 0 {
			plan.stacks = append(plan.stacks, tracer.Range{Start: m.Start, End: m.End})
		}
		return len(plan.stacks) < maxStackMappings
	})
}

// running returns the newest of the patches that replace a function, nil if none does.
func running(applied []Applied, old uint64) *Applied {
	for i := range applied {
		if indexOld(applied[i].Functions, old) >= 0 {
			return &applied[i]
		}
	}
	return nil
}

// addZone adds what runs if a function is called: the container of the newest patch, or the function itself.
func (r *Runtime) addZone(ctx context.Context, plan *Plan, applied []Applied, name string, old uint64) error {
	if a := running(applied, old); a != nil {
		l := r.libraryAt(a.Functions[indexOld(a.Functions, old)].New)
		if l == nil {
			return nil // it was loaded under this stop, and nobody can be in it
		}
		for _, s := range l.Segments {
			if s.Perm&process.PermExec != 0 {
				plan.zones = append(plan.zones, zone{s.Start, s.End, name})
			}
		}
		return nil
	}
	end, err := r.endOf(ctx, old)
	plan.zones = append(plan.zones, zone{old, end, name})
	return err
}

// endOf returns where a function ends: by its symbol, or if it has none, at the latest where the next one begins.
func (r *Runtime) endOf(ctx context.Context, entry uint64) (uint64, error) {
	l := r.libraryAt(entry)
	if l == nil {
		return 0, fault(ErrState, ErrMalformed, "a function at %#x, where no code is", entry)
	}
	end := l.Segment(entry).End
	symbols, err := r.mem.Symbols(ctx, l)
	if err != nil {
		return 0, err
	}
	for s, err := range symbols.All(ctx) {
		switch {
		case err != nil && foreign(err):
			return end, nil
		case err != nil:
			return 0, err
		case s.Type != elf.STT_FUNC && s.Type != elf.STT_GNU_IFUNC:
		case s.Addr == entry && s.Size > 0 && s.Size <= end-entry:
			return entry + s.Size, nil
		case s.Addr > entry:
			end = min(end, s.Addr)
		}
	}
	return end, nil
}

// outside says where a thread is that must be elsewhere, for a plan that is conditional.
func (s *Session) outside(plan *Plan) error {
	if len(plan.zones) == 0 {
		return nil
	}
	lo, hi := ^uint64(0), uint64(0)
	for _, z := range plan.zones {
		lo, hi = min(lo, z.lo), max(hi, z.hi)
	}
	words := tracer.NewWords(plan.stacks)
	defer words.Done()
	for _, th := range s.t.Threads() {
		err := words.Between(s.t, th, lo, hi, func(v uint64, pc bool) error {
			for _, z := range plan.zones {
				if v >= z.lo && v < z.hi {
					return &Error{Code: ErrAgain, Detail: fmt.Sprintf("thread %d is in %q, or returns into it", th.TID, z.name), Err: ErrInUse}
				}
			}
			return nil
		}, nil)
		if errors.Is(err, tracer.ErrWords) {
			return fault(ErrAgain, err, "thread %d", th.TID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
