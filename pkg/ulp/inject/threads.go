package inject

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// zone is code in which a thread must not be, or not be going to return to, while something is changed.
type zone struct {
	lo, hi uint64
	name   string // of the function
	move   uint64 // a thread that stands there is moved to this place, which is the same to it; 0: not possible
	free   int    // 1 + index into Plan.frees: threads are allowed, but the memory is kept then
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
	if b.o.Consistency != ConsistencyFunctions {
		return nil
	}
	now := tp.next.origin(slot)
	if tp.old != nil && slot < len(tp.old.slots) {
		now = tp.old.slots[slot]
	}
	if now == tp.next.slots[slot] {
		return nil
	}
	for _, r := range b.st.records {
		if now-r.Base < r.Size {
			b.zones = append(b.zones, zone{lo: r.Base, hi: r.Base + r.Size, name: name})
			return nil
		}
	}
	size, err := b.v.functionSize(ctx, tp.lib, name, s.entry)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	b.zones = append(b.zones, zone{lo: s.entry, hi: s.entry + size, name: name})
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

// Bounds of what is read of stacks: of one, and of all.
const (
	maxStack  = 256 << 20
	maxStacks = 1 << 30
	stackStep = 64 << 10
)

// look finds out where the threads are. It moves those that can be moved; another one in a zone is ErrAgain.
func (r *run) look() error {
	if len(r.zones) == 0 {
		return nil
	}
	s := scan{r: r, left: maxStacks}
	s.lo, s.hi = ^uint64(0), 0
	for _, z := range r.zones {
		s.lo, s.hi = min(s.lo, z.lo), max(s.hi, z.hi)
	}
	for _, th := range r.t.Threads() {
		if err := r.moveOn(th); err != nil {
			return err
		}
		for _, v := range registers(th) {
			if err := s.word(v); err != nil {
				return err
			}
		}
		if err := s.stack(th.SP()); err != nil {
			return err
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
	left   int    // how much may still be read
}

// word looks at what may be an address.
func (s *scan) word(v uint64) error {
	if v < s.lo || v >= s.hi {
		return nil
	}
	for _, z := range s.r.zones {
		switch {
		case v < z.lo || v >= z.hi:
		case z.free > 0:
			s.r.frees[z.free-1].inUse = true
		default:
			return fmt.Errorf("in %q: %w", z.name, ErrAgain)
		}
	}
	return nil
}

// keeps looks at a word below the stack pointer, which a function that calls nobody may use. What leads to code there is
// what calls that are over have left, and would keep memory as long as the thread makes no deeper ones.
func (s *scan) keeps(v uint64) {
	if v < s.lo || v >= s.hi {
		return
	}
	for _, z := range s.r.zones {
		if z.free > 0 && v >= z.lo && v < z.hi && !s.r.frees[z.free-1].code(v) {
			s.r.frees[z.free-1].inUse = true
		}
	}
}

// segments is what the kernel writes into a signal's frame behind program counter and flags: the segment registers. It
// marks the frame: three words before it is the stack pointer of what the signal interrupted.
const segments = 0x002b_0000_0000_0033

// redZone is what a function that calls nobody may use below its stack pointer.
const redZone = 128

// stack looks through a thread's stack, from its red zone to the end of the mapping. If a signal's handler runs on a
// stack of its own, the one that was interrupted is looked through too.
func (s *scan) stack(sp uint64) error {
	for range 8 {
		other, err := s.oneStack(sp &^ 7)
		if err != nil || other == 0 {
			return err
		}
		sp = other
	}
	return fmt.Errorf("signals on stacks of their own: %w", ErrAgain)
}

func (s *scan) oneStack(sp uint64) (interrupted uint64, err error) {
	i, _ := slices.BinarySearchFunc(s.r.stacks, sp, func(m process.Mapping, a uint64) int {
		if m.End <= a {
			return -1
		}
		return 1
	})
	if i == len(s.r.stacks) {
		return 0, ErrStale // a thread on a stack that was not there
	}
	m := s.r.stacks[i]
	if sp < m.Start {
		return 0, ErrStale
	}
	begin, end := sp, m.End
	sp = max(sp-redZone, m.Start)
	if end-sp > maxStack || end-sp > uint64(s.left) {
		return 0, fmt.Errorf("stacks too large to look through: %w", ErrAgain)
	}
	s.left -= int(end - sp)
	var last [3]uint64
	for ; sp < end; sp += stackStep {
		b := s.r.buf[:min(stackStep, end-sp)]
		if _, err := s.r.mem.ReadAt(b, int64(sp)); err != nil {
			return 0, ErrStale
		}
		for at := sp; len(b) >= 8; at, b = at+8, b[8:] {
			w := le.Uint64(b)
			if at < begin {
				s.keeps(w)
				continue
			}
			if w == segments && (last[0] < begin || last[0] >= end) && last[0] != 0 {
				interrupted = last[0]
			}
			if err := s.word(w); err != nil {
				return 0, err
			}
			last[0], last[1], last[2] = last[1], last[2], w
		}
	}
	return interrupted, nil
}
