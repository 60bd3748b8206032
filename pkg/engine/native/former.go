package native

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// formerCode adds what [ConsistencyFunctions] forbids for one slot: no thread may be in code that
// the function ever had and that is still in memory, or return into it. That is the function itself
// with the instructions that a detour moved elsewhere, and every live patch that replaces it, or
// once did: what was reverted or superseded while a thread was in it is kept for that thread. The
// exception is the code that the function has after the change. A slot that does not change adds
// nothing.
func (b *planner) formerCode(ctx context.Context, tp *targetPlan, slot int) error {
	s, next := tp.next.sites[slot], tp.next.slots[slot]
	now := tp.next.origin(slot)
	if tp.old != nil && slot < len(tp.old.slots) {
		now = tp.old.slots[slot]
	}
	if now == next {
		return nil
	}
	name := b.nameOf(tp, slot)
	if next != tp.next.origin(slot) {
		size, err := b.v.functionSize(ctx, tp.lib, name, s.entry)
		if err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		// At place stands the detour: a thread that has come so far, and no further, goes to the
		// new code.
		b.zones = append(b.zones, zone{lo: s.place() + 1, hi: s.entry + size, name: name})
		b.movedCode(s.entry, name)
		if err := b.coldParts(ctx, tp, s, size, name); err != nil {
			return fmt.Errorf("%q: %w: its parts elsewhere (.cold) are not known: %w", name,
				ErrEntry, err)
		}
	}
	for _, r := range b.st.records {
		comes := slices.ContainsFunc(tp.adding, func(a *newPatch) bool { return a.base == r.Base })
		if comes || next-r.Base < r.Size || !r.replaces(tp, s.entry) {
			continue
		}
		z := zone{lo: r.Base, hi: r.Base + r.Size, name: name}
		for _, f := range r.Functions {
			z.starts = append(z.starts, f.Replacement)
		}
		b.zones = append(b.zones, z)
	}
	return nil
}

// coldParts adds the code of a function that the compiler has put elsewhere: f.cold.
func (b *planner) coldParts(ctx context.Context, tp *targetPlan, s *site, size uint64,
	name string) error {
	parts, err := b.parts(ctx, tp.lib, s, size)
	for _, p := range parts {
		b.zones = append(b.zones, zone{lo: p.From, hi: p.To, name: name, starts: []uint64{p.From}})
	}
	return err
}

// parts finds the parts of a function that are elsewhere, by the library's file if that is known,
// once for all processes.
func (b *planner) parts(ctx context.Context, l *rtld.Library, s *site,
	size uint64) ([]hotpatch.Range, error) {
	k, err := b.v.known(ctx, l)
	if err != nil {
		return nil, err
	}
	if k != nil {
		b.v.cache.recent(k)
		if parts, ok := k.partsOf(ctx, s.entry-l.Bias, size, l.Bias); ok {
			return parts, nil
		}
	}
	seg := l.Segment(s.entry)
	if seg == nil || size > seg.End-s.entry {
		return nil, hotpatch.ErrSize
	}
	t, err := b.text(ctx, l, seg)
	if err != nil {
		return nil, err
	}
	code := bytes.Clone(t.Code[s.entry-t.Addr:][:size])
	if off := s.place() - s.entry; off < size { // as it was before the detour
		copy(code[off:], s.at[:s.n])
	}
	return t.Parts(s.entry, code)
}

// movedCode adds the instructions of a function that detours have moved into the stubs of tables.
// Earlier tables may be in memory for a thread, too.
func (b *planner) movedCode(entry uint64, name string) {
	for _, t := range b.st.tables {
		for slot, s := range t.sites {
			if s.entry == entry && s.kind == kindCode {
				b.zones = append(b.zones, zone{lo: t.stub(slot) + movedAt, hi: t.stub(slot) +
					stubSize, name: name})
			}
		}
	}
}

// replaces reports whether a live patch is, or was, one of a function. The library may have been
// somewhere else then: of an address that is not in it now, what counts is the place in its page,
// which no loader changes.
func (r *patchRecord) replaces(tp *targetPlan, entry uint64) bool {
	if !bytes.Equal(r.Target.BuildID, tp.lib.BuildID) {
		return false
	}
	for _, f := range r.Functions {
		if f.Entry == entry || f.Entry%pageSize == entry%pageSize && !tp.lib.Contains(f.Entry, 1) {
			return true
		}
	}
	return false
}
