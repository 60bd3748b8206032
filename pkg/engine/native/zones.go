package native

import (
	"bytes"
	"context"
	"fmt"
)

// zone is code in which a thread must not be, or not be going to return to, while something is
// changed.
type zone struct {
	lo, hi  uint64
	name    string   // of the function
	move    uint64   // where a thread that stands there may go on instead; 0: nowhere
	retired *retired // threads are allowed, but this region is kept then; nil: they are not
	// starts are first bytes of functions. A word on a stack that leads there is a pointer that
	// somebody stored: a return address is after a call, hence after its function's first byte.
	starts []uint64
}

// zonesOf adds what the change of one slot forbids.
func (b *planner) zonesOf(ctx context.Context, tp *targetPlan, slot int, installs bool) error {
	s := tp.next.sites[slot]
	name := b.nameOf(tp, slot)
	if installs && s.kind != kindCode && bytes.Equal(s.before[:], nops) {
		// In the NOPs before the entry: a function before it may end without a jump, as some
		// of libc's do.
		b.zones = append(b.zones, zone{lo: s.entry - beforeLen + 1, hi: s.entry, name: name,
			move: s.entry})
	}
	switch {
	case !installs || s.single():
	case s.kind == kindNOPs: // between the two NOPs
		b.zones = append(b.zones, zone{lo: s.place() + 1, hi: s.resume(), name: name,
			move: s.resume()})
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
