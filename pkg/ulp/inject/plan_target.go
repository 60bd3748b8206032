package inject

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// blob is memory to be mapped into the process from one memory file.
type blob struct {
	name     string
	base     uint64
	size     uint64    // in whole pages
	contents []content // in their order, the first one at the beginning; all else is zeros
	parts    []part    // what is not just read-only
}

// content is what is somewhere in a blob, from a page's beginning on.
type content struct {
	off  uint64
	data []byte
}

// first returns the blob's first page, as far as there is something in it.
func (bl *blob) first() []byte {
	data := bl.contents[0].data
	return data[:min(len(data), pageSize)]
}

// part is a range of a blob, in whole pages, with its protection.
type part struct {
	off, size uint64
	prot      uint64
}

// freed is memory to be given back when no thread needs it.
type freed struct {
	base, size uint64
	inUse      bool
	done       bool
	idle       bool              // not active before the change either, so that it may go first
	text       []process.Mapping // the part of it that is code
}

// code says whether an address is in code.
func (f *freed) code(addr uint64) bool {
	return slices.ContainsFunc(f.text, func(m process.Mapping) bool { return addr >= m.Start && addr < m.End })
}

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
	if tp.old == nil && tp.added > 0 {
		contents, err := tp.next.encode() // with no layer, and all slots leading on
		if err != nil {
			return err
		}
		b.blobs = append(b.blobs, &blob{name: "lpbuild:detours", base: tp.next.base, size: tableSize, contents: contents,
			parts: []part{{stubsAt, tableSize - stubsAt, unix.PROT_READ | unix.PROT_EXEC}}})
	}
	if err := b.images(ctx, tp); err != nil {
		return err
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
	at, ok := room(b.taken(), total, span(tp.lib))
	if !ok && (tp.old != nil || !slices.ContainsFunc(tp.next.sites, (*site).needsNear)) {
		at, ok = room(b.taken(), total, nil)
	}
	if !ok {
		return fmt.Errorf("%d KiB near %s: %w", total>>10, tp.lib.Name, ErrNoRoom)
	}
	if tp.old == nil {
		tp.next.base, at = at, at+tableSize
	}
	for _, a := range tp.adding {
		a.base = at
		a.base += -a.image() & (a.patch.im.align - 1)
		at = a.base + a.size
	}
	return nil
}

// taken returns the mappings with those that the plan has already chosen.
func (b *planner) taken() []process.Mapping {
	list := slices.Clone(b.v.maps)
	for _, bl := range b.blobs {
		list = append(list, process.Mapping{Start: bl.base, End: bl.base + bl.size})
	}
	slices.SortFunc(list, func(x, y process.Mapping) int { return cmp.Compare(x.Start, y.Start) })
	return list
}

// head is the room that the record takes, in whole pages.
func (a *addition) head(tp *targetPlan) (uint64, error) {
	r, err := a.record(tp).encode()
	return pageUp(uint64(len(r))), err
}

// record is what the live patch will say about itself. Its length does not depend on addresses.
func (a *addition) record(tp *targetPlan) *record {
	r := &record{PatchID: a.patch.Meta.PatchID, Target: a.patch.Meta.Target, Container: a.patch.Name,
		Comments: a.patch.Comments, Time: time.Now(), Base: a.base, Size: a.size, Table: tp.next.base}
	for i, f := range a.patch.Meta.Functions {
		r.Functions = append(r.Functions, replaced{Old: f.Old, New: f.New, Slot: uint32(a.slots[i]),
			Entry: tp.lib.Bias + f.OldValue, Replacement: a.image() + a.patch.replacements[i]})
	}
	return r
}

// image is where the container's address 0 will be.
func (a *addition) image() uint64 { return a.base + a.size - uint64(len(a.patch.im.mem)) }

// images relocates the containers, and makes blobs and layers of them.
func (b *planner) images(ctx context.Context, tp *targetPlan) error {
	if len(tp.adding) == 0 {
		return nil
	}
	s := b.v.scopeFor(tp.lib)
	var serial uint64
	for _, l := range tp.next.layers {
		serial = max(serial, l.serial)
	}
	for _, a := range tp.adding {
		mem, err := a.patch.relocated(ctx, s, tp.lib, a.image())
		if err != nil {
			return fmt.Errorf("%s: %w", a.patch.Name, err)
		}
		r := a.record(tp)
		head, err := r.encode()
		if err != nil {
			return err
		}
		image := pageUp(uint64(len(head)))
		bl := &blob{name: "lpbuild:" + a.patch.Name, base: a.base, size: image + pageUp(uint64(len(mem))),
			contents: []content{{0, head}, {image, mem}}}
		for _, p := range a.patch.im.ranges {
			prot := uint64(unix.PROT_READ)
			switch {
			case p.flags&elf.PF_X != 0:
				prot |= unix.PROT_EXEC
			case p.flags&elf.PF_W != 0:
				prot |= unix.PROT_WRITE
			default:
				continue
			}
			bl.parts = append(bl.parts, part{image + p.start, p.end - p.start, prot})
		}
		serial++
		b.blobs = append(b.blobs, bl)
		b.st.records = append(b.st.records, r)
		tp.next.layers = append(tp.next.layers, layer{a.base, a.size, serial})
	}
	return b.expectBound(ctx, s)
}

// expectBound remembers the libraries that symbols were found in: they may be unloaded until the process is stopped.
func (b *planner) expectBound(ctx context.Context, s *scope) error {
	seen := map[*process.Library]bool{}
	for _, f := range s.found {
		seen[f.lib] = true
	}
	for _, l := range b.v.libs {
		if !seen[l] || l == s.target {
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
	for _, l := range tp.next.layers {
		r := b.st.recordAt(l.base)
		if r == nil || r.Size != l.size {
			return fmt.Errorf("layer at %#x: %w", l.base, ErrDamaged)
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
		if seg := tp.lib.Segment(s.place()); seg == nil || seg.Perm&process.PermExec == 0 || !tp.lib.Contains(s.entry-beforeLen, siteWindow) {
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
			return fmt.Errorf("function at %#x of %s: %w", s.entry-tp.lib.Bias, tp.lib.Name, ErrProbe)
		}
		if !ok {
			return fmt.Errorf("function at %#x of %s: %w", s.entry-tp.lib.Bias, tp.lib.Name, ErrForeign)
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

// idle says whether nothing of ours replaced a slot's function before the change.
func (tp *targetPlan) idle(slot int) bool {
	return tp.old != nil && slot < len(tp.old.slots) && tp.old.slots[slot] == tp.old.origin(slot)
}

// expectHead remembers the beginning of the library's image and its build-id: that the library is still the one when the
// process is stopped. What the library was taken for may be long ago; in the same place can be another one by now.
func (b *planner) expectHead(ctx context.Context, l *process.Library) error {
	head := make([]byte, min(pageSize, l.Segments[0].End-l.Segments[0].Start))
	if _, err := b.v.m.ReadAt(ctx, head, l.Segments[0].Start); err != nil {
		return err
	}
	b.expectFirst(write{l.Segments[0].Start, head})
	return b.expectID(ctx, l)
}

// expectID remembers the build-id of a library, if it has one. ErrStale: it is another's already.
func (b *planner) expectID(ctx context.Context, l *process.Library) error {
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
	b.expectFirst(write{l.BuildIDAt, l.BuildID})
	return nil
}

// expectFirst remembers what is to be seen again before anything is loaded, and once more before anything is changed.
func (b *planner) expectFirst(w write) {
	b.heads, b.expect = append(b.heads, w), append(b.expect, w)
}

// leftovers finds what is mapped and will not be in use: what is reverted, and what earlier runs had to leave.
func (b *planner) leftovers(ctx context.Context) error {
	used := map[uint64]bool{}
	for _, tp := range b.targets {
		for _, l := range tp.next.layers {
			used[l.base], used[tp.next.base] = true, true
		}
	}
	for _, r := range b.st.records {
		if !used[r.Base] {
			b.frees = append(b.frees, &freed{base: r.Base, size: r.Size, idle: !slices.ContainsFunc(b.applied,
				func(a Applied) bool { return a.Active && a.Base == r.Base })})
		}
	}
	for _, t := range b.st.tables {
		if !slices.ContainsFunc(b.targets, func(tp *targetPlan) bool { return tp.old == t }) {
			b.orphans = append(b.orphans, t)
		}
		if !used[t.base] && b.v.ours(t.base, tableSize) {
			b.frees = append(b.frees, &freed{base: t.base, size: tableSize})
		}
	}
	for _, m := range b.v.maps { // without contents: the engine was killed before it wrote them
		if strings.HasPrefix(m.Path, memoryPrefix) && !b.st.owns(m) {
			b.frees = append(b.frees, &freed{base: m.Start, size: m.End - m.Start, idle: true})
			if err := b.expectUnused(ctx, m); err != nil {
				return err
			}
		}
	}
	for i, f := range b.frees {
		for _, m := range b.v.maps {
			if m.Perm&process.PermExec != 0 && m.Start >= f.base && m.End <= f.base+f.size {
				f.text = append(f.text, m)
			}
		}
		if len(f.text) > 0 { // without code it was never finished, and no thread can have to do with it
			b.zones = append(b.zones, zone{lo: f.base, hi: f.base + f.size, free: i + 1})
		}
	}
	return nil
}

// expectUnused remembers how memory begins that is nobody's: an engine that is just loading a live patch, between two stops, has
// such, too. If it has been filled when the process is stopped, it is that engine's, and functions may lead there.
func (b *planner) expectUnused(ctx context.Context, m process.Mapping) error {
	head := make([]byte, min(m.End-m.Start, pageSize))
	if _, err := b.v.m.ReadAt(ctx, head, m.Start); errors.Is(err, process.ErrUnreadable) {
		return nil
	} else if err != nil {
		return err
	}
	b.expectFirst(write{m.Start, head})
	return nil
}
