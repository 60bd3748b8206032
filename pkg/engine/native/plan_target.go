package native

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// target makes the plan for one library: addresses, images, slots, detours.
func (b *planner) target(ctx context.Context, tp *targetPlan) error {
	if err := b.addresses(tp); err != nil {
		return err
	}
	if tp.old != nil {
		tp.oldPage = tp.old.encodePage()
		b.expect = append(b.expect, write{tp.old.base, tp.oldPage})
	}
	if err := b.expectHead(ctx, tp.lib); err != nil {
		return err
	}
	for slot := range tp.next.sites {
		if slot >= len(tp.next.slots) {
			tp.next.slots = append(tp.next.slots, tp.next.origin(slot))
		}
	}
	rg := &region{}
	if tp.old == nil && tp.added > 0 {
		contents, err := tp.next.encode() // with no live patch, and all slots leading on
		if err != nil {
			return err
		}
		rg.base, rg.size, rg.contents = tp.next.base, tableSize, contents
	}
	if err := b.images(ctx, tp, rg); err != nil {
		return err
	}
	if rg.size > 0 {
		rg.file, rg.noFile = b.backing(rg, tp)
		b.regions = append(b.regions, rg)
	}
	if err := b.lead(tp); err != nil {
		return err
	}
	return b.entries(ctx, tp)
}

// addresses chooses where the table and the containers will be.
func (b *planner) addresses(tp *targetPlan) error {
	var total uint64
	if tp.old == nil {
		total = tableSize
	}
	for _, a := range tp.adding {
		head, err := a.head(tp)
		if err != nil {
			return err
		}
		a.size = head + uint64(len(a.patch.im.mem))
		total += a.size + a.patch.im.align - pageSize
	}
	if total == 0 {
		return nil
	}
	total += (signedSizes - 1) * pageSize
	at, ok := room(b.taken(), total, span(tp.lib))
	if !ok && (tp.old != nil || !slices.ContainsFunc(tp.next.sites, (*site).needsNear)) {
		at, ok = room(b.taken(), total, nil)
	}
	if !ok {
		return fmt.Errorf("%d KiB near %s: %w", total>>10, tp.lib.Name, ErrNoRoom)
	}
	base := at
	if tp.old == nil {
		tp.next.base, at = at, at+tableSize
	}
	for _, a := range tp.adding {
		a.base = at
		a.size += -a.image() & (a.patch.im.align - 1) // between the record and the image
		at = a.base + a.size
	}
	if n := len(tp.adding); n > 0 {
		last := tp.adding[n-1]
		last.after = signedSize(base, at-base) - (at - base)
		last.size += last.after
	}
	return nil
}

// taken returns the mappings with those that the plan has already chosen.
func (b *planner) taken() []rtld.Mapping {
	list := slices.Clone(b.v.maps)
	for _, rg := range b.regions {
		list = append(list, rtld.Mapping{Start: rg.base, End: rg.end()})
	}
	slices.SortFunc(list, func(x, y rtld.Mapping) int { return cmp.Compare(x.Start, y.Start) })
	return list
}

// head is the room that the record takes, in whole pages.
func (a *newPatch) head(tp *targetPlan) (uint64, error) {
	r, err := a.record(tp).encode()
	return pageUp(uint64(len(r))), err
}

// record is what the live patch will say about itself. Its length does not depend on addresses.
func (a *newPatch) record(tp *targetPlan) *patchRecord {
	r := &patchRecord{PatchID: a.patch.Meta.PatchID, Target: a.patch.Meta.Target,
		Container: a.patch.Name, Comments: a.patch.Comments, Time: time.Now(), Base: a.base,
		Size: a.size, Table: tp.next.base}
	for i, f := range a.patch.Meta.Functions {
		r.Functions = append(r.Functions, replaced{Old: f.Old, New: f.New, Slot: uint32(a.slots[i]),
			Entry: tp.lib.Bias + f.OldValue, Replacement: a.image() + a.patch.replacements[i]})
	}
	for _, p := range a.patch.im.ranges {
		if p.flags&elf.PF_X != 0 {
			r.Code = append(r.Code, extent{a.image() - a.base + p.start, p.end - p.start})
		}
	}
	return r
}

// image is where the container's address 0 will be.
func (a *newPatch) image() uint64 { return a.base + a.size - a.after - uint64(len(a.patch.im.mem)) }

// images relocates the containers, and adds them to the table, and to the contents of the region.
func (b *planner) images(ctx context.Context, tp *targetPlan, rg *region) error {
	if len(tp.adding) == 0 {
		return nil
	}
	s := b.v.loaded.Scope(tp.lib)
	var serial uint64
	for _, l := range tp.next.patches {
		serial = max(serial, l.serial)
	}
	for _, a := range tp.adding {
		former := make([]uint64, len(a.slots))
		for i, slot := range a.slots {
			former[i] = tp.next.origin(slot)
		}
		mem, err := a.patch.relocated(ctx, s, tp.lib, a.image(), former)
		if err != nil {
			return fmt.Errorf("%s: %w", a.patch.Name, err)
		}
		r := a.record(tp)
		head, err := r.encode()
		if err != nil {
			return err
		}
		if rg.size == 0 {
			rg.base = a.base
		}
		image := a.image() - rg.base
		rg.contents = append(rg.contents, content{a.base - rg.base, head}, content{image, mem})
		for _, p := range a.patch.im.ranges {
			if p.flags&elf.PF_W != 0 {
				rg.writable = append(rg.writable, extent{image + p.start, p.end - p.start})
			}
		}
		rg.size = a.base + a.size - rg.base
		serial++
		b.st.records = append(b.st.records, r)
		tp.next.patches = append(tp.next.patches, activePatch{a.base, a.size, serial})
	}
	return b.expectBound(ctx, tp.lib, s.Libraries())
}

// expectBound remembers the libraries in which symbols were found for a target: they may be
// unloaded until the process is stopped.
func (b *planner) expectBound(ctx context.Context, target *rtld.Library,
	bound []*rtld.Library) error {
	for _, l := range b.v.libs {
		if l == target || !slices.Contains(bound, l) {
			continue
		}
		if err := b.expectID(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// lead makes every slot lead to the topmost live patch that replaces its function.
func (b *planner) lead(tp *targetPlan) error {
	for slot := range tp.next.slots {
		tp.next.slots[slot] = tp.next.origin(slot)
	}
	for _, l := range tp.next.patches {
		r := b.st.recordAt(l.base)
		if r == nil || r.Size != l.size {
			return fmt.Errorf("live patch at %#x: %w", l.base, ErrDamaged)
		}
		for _, f := range r.Functions {
			if int(f.Slot) >= len(tp.next.sites) || tp.next.sites[f.Slot].entry != f.Entry {
				return fmt.Errorf("live patch at %#x: %w", l.base, ErrDamaged)
			}
			tp.next.slots[f.Slot] = f.Replacement
		}
	}
	return nil
}

// entries compares the functions' entries with what they should be.
func (b *planner) entries(ctx context.Context, tp *targetPlan) error {
	for slot, s := range tp.next.sites {
		stub := tp.next.stub(slot)
		if _, err := s.detour(stub); err != nil {
			return fmt.Errorf("%s: %w", tp.lib.Name, err)
		}
		if seg := tp.lib.Segment(s.place()); seg == nil || seg.Perm&rtld.PermExec == 0 ||
			!tp.lib.Contains(s.entry-beforeLen, siteWindow) {
			return fmt.Errorf("function at %#x: %w", s.entry, ErrDamaged)
		}
		at, plain := s.window(stub, false)
		have := make([]byte, len(plain))
		if _, err := b.v.m.ReadAt(ctx, have, at); err != nil {
			return err
		}
		wanted := tp.next.slots[slot] != tp.next.origin(slot)
		detoured, ok := s.led(have, stub)
		if !ok && !wanted && tp.idle(slot) {
			continue // not ours any more: somebody else has patched it since
		}
		if _, led := s.window(stub, true); !ok && probed(have, plain, led) {
			return fmt.Errorf("function at %#x of %s: %w", s.entry-tp.lib.Bias, tp.lib.Name,
				ErrProbe)
		}
		if !ok {
			return fmt.Errorf("function at %#x of %s: %w", s.entry-tp.lib.Bias, tp.lib.Name,
				&foreignError{at, have})
		}
		b.expect = append(b.expect, write{at, have})
		switch {
		case wanted && !detoured:
			tp.install = append(tp.install, slot)
		case !wanted && (detoured || !bytes.Equal(have, plain)):
			tp.restore = append(tp.restore, slot)
		}
		if err := b.zonesOf(ctx, tp, slot, wanted && !detoured); err != nil {
			return err
		}
	}
	return nil
}

// idle reports whether nothing of ours replaced a slot's function before the change.
func (tp *targetPlan) idle(slot int) bool {
	return tp.old != nil && slot < len(tp.old.slots) && tp.old.slots[slot] == tp.old.origin(slot)
}

// expectHead remembers the beginning of the library's image and its build-id: that the library is
// still the one when the process is stopped. What the library was taken for may be long ago; in the
// same place can be another one by now.
func (b *planner) expectHead(ctx context.Context, l *rtld.Library) error {
	head := make([]byte, min(pageSize, l.Segments[0].End-l.Segments[0].Start))
	if _, err := b.v.m.ReadAt(ctx, head, l.Segments[0].Start); err != nil {
		return err
	}
	b.expect = append(b.expect, write{l.Segments[0].Start, head})
	return b.expectID(ctx, l)
}

// expectID remembers the build-id of a library, if it has one. ErrStale: it is another's already.
func (b *planner) expectID(ctx context.Context, l *rtld.Library) error {
	if len(l.BuildID) == 0 {
		return nil
	}
	id := make([]byte, len(l.BuildID))
	if _, err := b.v.m.ReadAt(ctx, id, l.BuildIDAt); err != nil {
		return err
	}
	if !bytes.Equal(id, l.BuildID) {
		return fmt.Errorf("%q is not where it was: %w", l.Name, ErrStale)
	}
	b.expect = append(b.expect, write{l.BuildIDAt, l.BuildID})
	return nil
}

// leftovers finds what is mapped and will not be in use: what is reverted, and what earlier runs
// had to leave.
func (b *planner) leftovers(ctx context.Context) error {
	used := map[uint64]bool{}
	for _, tp := range b.targets {
		for _, l := range tp.next.patches {
			used[l.base], used[tp.next.base] = true, true
		}
	}
	for _, r := range b.st.records {
		if !used[r.Base] {
			b.retired = append(b.retired, &retired{mapping: mapping{r.Base, r.Size},
				text: b.v.text(r), idle: !slices.ContainsFunc(b.applied,
					func(a AppliedPatch) bool { return a.Active && a.Base == r.Base })})
		}
	}
	for _, t := range b.st.tables {
		if !slices.ContainsFunc(b.targets, func(tp *targetPlan) bool { return tp.old == t }) {
			b.orphans = append(b.orphans, t)
		}
		if !used[t.base] && b.v.ours(t.base, tableSize) {
			b.retired = append(b.retired, &retired{mapping: mapping{t.base, tableSize},
				text: []extent{{stubsAt, tableSize - stubsAt}}})
		}
	}
	b.keepMoved()
	for _, r := range b.retired {
		if len(r.text) > 0 {
			// without code it was never finished, and no thread can have to do with it
			b.zones = append(b.zones, zone{lo: r.base, hi: r.base + r.size, retired: r})
		}
	}
	for _, u := range b.st.unfinished {
		b.retired = append(b.retired, &retired{mapping: mapping{u.off, u.size}, idle: true})
		if err := b.expectUnused(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// keepMoved ties tables to live patches that may call functions by the instructions which detours
// have moved into the tables' stubs (lpbuild_original_NAME): a thread that a live patch is kept for
// may be about to do so.
func (b *planner) keepMoved() {
	for _, r := range b.st.records {
		table := slices.IndexFunc(b.st.tables, func(t *table) bool { return t.base == r.Table })
		if table < 0 || !slices.ContainsFunc(r.Functions, func(f replaced) bool {
			sites := b.st.tables[table].sites
			return int(f.Slot) < len(sites) && sites[f.Slot].kind == kindCode
		}) {
			continue
		}
		live, stubs := b.retiredAt(r.Base), b.retiredAt(r.Table)
		if live != nil {
			live.calls = stubs
		}
	}
}

// retiredAt returns the retired region at an address, nil if there is none.
func (b *planner) retiredAt(base uint64) *retired {
	i := slices.IndexFunc(b.retired, func(r *retired) bool { return r.base == base })
	if i < 0 {
		return nil
	}
	return b.retired[i]
}

// expectUnused remembers how memory begins that is nobody's: an engine that is just loading a live
// patch, between two stops, has such, too. If it has been filled when the process is stopped, it is
// that engine's, and functions may lead there.
func (b *planner) expectUnused(ctx context.Context, u extent) error {
	head := make([]byte, pageSize)
	if _, err := b.v.m.ReadAt(ctx, head, u.off); errors.Is(err, process.ErrUnreadable) {
		return nil
	} else if err != nil {
		return err
	}
	b.expect = append(b.expect, write{u.off, head})
	return nil
}

// text returns where the code of a live patch is. Where the record does not say, that is what can
// be executed.
func (v *view) text(r *patchRecord) []extent {
	if len(r.Code) > 0 {
		return r.Code
	}
	var list []extent
	for _, m := range v.maps {
		if from, to := max(m.Start, r.Base), min(m.End, r.Base+r.Size); m.Perm&rtld.PermExec != 0 &&
			from < to {
			list = append(list, extent{from - r.Base, to - from})
		}
	}
	return list
}
