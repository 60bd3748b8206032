package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// zone is code in which a thread must not be, or not be going to return to, while something is changed.
type zone struct {
	lo, hi uint64
	name   string // of the function
	move   uint64 // a thread that stands there is moved to this place, which is the same to it; 0: not possible
	free   int    // 1 + index into Plan.frees: threads are allowed, but the memory is kept then
	// starts are first bytes of functions. A word on a stack that leads there is a pointer that somebody stored: a return address
	// is after a call, hence after its function's first byte.
	starts []uint64
}

// zonesOf adds what the change of one slot forbids.
func (b *planner) zonesOf(ctx context.Context, tp *targetPlan, slot int, installs bool) error {
	s := tp.next.sites[slot]
	name := b.nameOf(tp, slot)
	if installs && s.kind != kindCode && bytes.Equal(s.before[:], nops) {
		// In the NOPs before the entry: a function in front of it may end without a jump, as some of libc's do.
		b.zones = append(b.zones, zone{lo: s.entry - beforeLen + 1, hi: s.entry, name: name, move: s.entry})
	}
	switch {
	case !installs || s.single():
	case s.kind == kindNOPs: // between the two NOPs
		b.zones = append(b.zones, zone{lo: s.place() + 1, hi: s.resume(), name: name, move: s.resume()})
	default:
		b.zones = append(b.zones, zone{lo: s.place() + 1, hi: s.resume(), name: name})
	}
	if b.o.Consistency == ConsistencyFunctions {
		return b.formerCode(ctx, tp, slot)
	}
	return nil
}

// nameOf returns the name of the function of a slot.
func (b *planner) nameOf(tp *targetPlan, slot int) string {
	for _, r := range b.st.records {
		for _, f := range r.Functions {
			if r.Table == tp.next.base && int(f.Slot) == slot {
				return f.Old
			}
		}
	}
	return fmt.Sprintf("%#x", tp.next.sites[slot].entry)
}

// look finds out where the threads are. It moves those that can be moved; another one in a zone is ErrAgain.
func (r *run) look() error {
	if len(r.zones) == 0 {
		return nil
	}
	s := scan{r: r, lo: ^uint64(0)}
	for _, z := range r.zones {
		s.lo, s.hi = min(s.lo, z.lo), max(s.hi, z.hi)
	}
	for _, th := range r.t.Threads() {
		if err := r.moveOn(th); err != nil {
			return err
		}
		s.tid = th.TID
		if err := r.words.Scan(r.t, th, s.lo, s.hi, s.word, s.keeps); errors.Is(err, tracer.ErrScan) {
			return fmt.Errorf("%w: thread %d: %w", ErrAgain, th.TID, err)
		} else if err != nil {
			return err
		}
	}
	for _, f := range r.frees {
		if f.inUse && f.calls != nil {
			f.calls.needed()
		}
	}
	return nil
}

// moveOn takes a thread past what it stands on, where that makes no difference to it.
func (r *run) moveOn(th *tracer.Thread) error {
	for _, z := range r.zones {
		if pc := th.PC(); z.move != 0 && pc >= z.lo && pc < z.hi {
			r.step("move")
			return r.t.SetPC(th, z.move)
		}
	}
	return nil
}

// scan looks for words that lead into zones.
type scan struct {
	r      *run
	lo, hi uint64 // of all zones
	tid    int
}

// word looks at what may be an address. pc reports whether the thread goes on there.
func (s *scan) word(v uint64, pc bool) error {
	for _, z := range s.r.zones {
		switch {
		case v < z.lo || v >= z.hi:
		case !pc && slices.Contains(z.starts, v):
		case z.free > 0:
			s.r.frees[z.free-1].needed()
		default:
			return &BusyError{TID: s.tid, Function: z.name}
		}
	}
	return nil
}

// keeps looks at a word below the stack pointer, which a function that calls nobody may use. What leads to code there is
// what calls that are over have left, and would keep memory as long as the thread makes no deeper ones.
func (s *scan) keeps(v uint64) {
	for _, z := range s.r.zones {
		if z.free > 0 && v >= z.lo && v < z.hi && !s.r.frees[z.free-1].code(v) {
			s.r.frees[z.free-1].needed()
		}
	}
}

// needed notes that a thread leads into memory that was to be given back, if it has not been already.
func (f *freed) needed() { f.inUse = !f.done }
