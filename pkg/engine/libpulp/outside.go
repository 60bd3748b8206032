package libpulp

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// ErrInUse means that a thread is in a function that is to be switched, or will return into it.
var ErrInUse = errors.New("a thread is in a function that is replaced")

// zone is code in which no thread may be, nor have a call on its stack.
type zone struct {
	lo, hi uint64
	name   string // of the function, or of the container that has replaced it
	// first bytes of functions: a word on a stack that leads there is a pointer, and no call
	starts []uint64
}

// maxStackMappings is how many writable mappings are kept; the kernel allows 65,530 in all unless
// told otherwise.
const maxStackMappings = 1 << 17

// Outside makes a plan conditional: [Session.Do] carries it out only if no thread is in a function
// that it switches, nor has a call of it on its stack. Else it does nothing and returns an [*Error]
// with [ErrAgain] and [ErrInUse]. All code counts that the function ever had and that is still in
// memory, but for the code that it has after the plan: the function itself, containers that are
// applied, and those that were reverted, which libpulp.so leaves loaded. What somebody else left
// unfinished is finished wherever threads are.
func (r *Runtime) Outside(ctx context.Context, plan *Plan) error {
	applied, err := r.Applied(ctx)
	if err != nil {
		return err
	}
	names := map[uint64]string{}
	var functions []uint64 // in an order that is always the same
	add := func(name string, old uint64) {
		if _, known := names[old]; !known {
			names[old], functions = name, append(functions, old)
		}
	}
	for _, p := range plan.places {
		add(p.name, p.entry)
	}
	for i := range plan.Revert {
		for _, f := range plan.Revert[i].Functions {
			add(plan.Revert[i].Name(), f.Old)
		}
	}
	for _, old := range functions {
		if err := r.addZones(ctx, plan, applied, names[old], old); err != nil {
			return err
		}
	}
	plan.stacks = nil
	return r.mem.Mappings(ctx, func(m rtld.Mapping) bool {
		if m.Perm&rtld.PermWrite != 0 {
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

// addZones adds all code that a function ever had, unless the plan leaves it as it is.
func (r *Runtime) addZones(ctx context.Context, plan *Plan, applied []Applied, name string,
	old uint64) error {
	now := running(applied, old)
	after := running(slices.DeleteFunc(slices.Clone(applied), func(a Applied) bool {
		return indexOf(plan.Revert, a.ID) >= 0
	}), old)
	comes := slices.ContainsFunc(plan.places, func(p place) bool { return p.entry == old })
	if !comes && now != nil && after != nil && now.ID == after.ID {
		return nil
	}
	var stays *rtld.Library // whose code the function has after the plan, if that is in memory
	switch {
	case comes:
	case after != nil:
		stays = r.libraryAt(after.Functions[indexOld(after.Functions, old)].New)
	}
	if comes || after != nil {
		was, err := r.entry(ctx, old)
		if err != nil {
			return err
		}
		from := old + 1 // the jump is here, and a thread that is not past it takes it
		if was.Landing {
			from += landingSize
		}
		end, err := r.endOf(ctx, old)
		if err != nil {
			return err
		}
		plan.zones = append(plan.zones, zone{lo: from, hi: end, name: name})
	}
	former, err := r.formerOf(ctx, applied, old)
	if err != nil {
		return err
	}
	for _, c := range former {
		if c.l == stays {
			continue
		}
		for _, s := range c.l.Segments {
			if s.Perm&rtld.PermExec != 0 {
				plan.zones = append(plan.zones, zone{lo: s.Start, hi: s.End, name: name,
					starts: c.starts})
			}
		}
	}
	return nil
}

// endOf returns where a function ends: by its symbol, or if it has none, at the latest where the
// next one begins.
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
	stacks := tracer.NewStackScanner(plan.stacks)
	defer stacks.Done()
	for _, th := range s.t.Threads() {
		err := stacks.Scan(s.t, th, lo, hi, func(v uint64, pc bool) error {
			for _, z := range plan.zones {
				if v >= z.lo && v < z.hi && (pc || !slices.Contains(z.starts, v)) {
					return &Error{Code: ErrAgain,
						Detail: fmt.Sprintf("thread %d is in %q, or returns into it", th.TID,
							z.name), Err: ErrInUse}
				}
			}
			return nil
		}, nil)
		if errors.Is(err, tracer.ErrScan) {
			return fault(ErrAgain, err, "thread %d", th.TID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
