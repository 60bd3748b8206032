package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// sites finds the slots of all functions to be replaced, with new sites for those that have none
// yet.
func (b *planner) sites(ctx context.Context) error {
	for _, tp := range b.targets {
		for _, a := range tp.adding {
			if err := b.versions(ctx, tp.lib, a.patch); err != nil {
				return err
			}
			for _, f := range a.patch.Meta.Functions {
				if err := b.unwinds(ctx, tp.lib, a.patch, f); err != nil {
					return fmt.Errorf("%q of %s: %w", f.Old, tp.lib.Name, err)
				}
				slot := tp.next.find(tp.lib.Bias + f.OldValue)
				if slot < 0 {
					s, err := b.site(ctx, tp.lib, a.patch, f)
					if err != nil {
						return fmt.Errorf("%q of %s: %w", f.Old, tp.lib.Name, err)
					}
					if slot = len(tp.next.sites); slot >= maxSlots {
						return fmt.Errorf("%d functions of %s: %w", maxSlots, tp.lib.Name, ErrLimit)
					}
					tp.next.sites = append(tp.next.sites, s)
					tp.added++
				}
				a.slots = append(a.slots, slot)
			}
		}
	}
	return nil
}

// versions compares the functions that a live patch replaces with what the library exports.
func (b *planner) versions(ctx context.Context, l *rtld.Library, p *Patch) error {
	k, err := b.v.known(ctx, l)
	if err != nil || k != nil && k.exports(ctx, p) {
		return err
	}
	symbols, err := b.v.loaded.Symbols(ctx, l)
	switch {
	case err != nil:
		return err
	case symbols != nil:
		return symbols.CheckReplaced(ctx, p.Meta.Functions)
	}
	for _, f := range p.Meta.Functions {
		if _, version := symtab.SplitVersion(f.Old); version != "" {
			return fmt.Errorf("%q of %s: %w: its symbol table cannot be read", f.Old, l.Name,
				ulp.ErrNoSymbol)
		}
	}
	return nil
}

// unwinds returns ErrUnwinding if something may pass through a live patch, and the function that it
// replaces handles it.
func (b *planner) unwinds(ctx context.Context, l *rtld.Library, p *Patch, f ulp.Function) error {
	if p.Unwinding == ulp.UnwindingNone {
		return nil
	}
	return b.v.checkHandlers(ctx, l, l.Bias+f.OldValue)
}

// site looks at the entry of a function that a live patch replaces.
func (b *planner) site(ctx context.Context, l *rtld.Library, p *Patch,
	f ulp.Function) (*site, error) {
	entry := l.Bias + f.OldValue
	seg := l.Segment(entry)
	if seg == nil || seg.Perm&rtld.PermExec == 0 || entry-seg.Start < beforeLen ||
		seg.End-entry < siteWindow {
		return nil, fmt.Errorf("%w: %w", ErrEntry, hotpatch.ErrOutside)
	}
	if seg.Perm&rtld.PermShared != 0 { // a detour would go into the file, and into all who map it
		return nil, fmt.Errorf("%w: its code is mapped with MAP_SHARED", ErrEntry)
	}
	window := make([]byte, siteWindow)
	if _, err := b.v.m.ReadAt(ctx, window, entry-beforeLen); err != nil {
		return nil, err
	}
	s, err := nopSite(entry, window)
	if errors.Is(err, ErrEntry) && cmp.Or(b.o.Entries, p.Entries) == symtab.EntriesAny {
		s, err = b.codeSite(ctx, l, seg, p, f, window[beforeLen:])
	}
	if err == nil && s.kind == kindCode && hotpatch.Breakpoint(s.at[:s.n]) {
		return nil, fmt.Errorf("%w: %w", ErrEntry, ErrProbe)
	}
	return s, notProbed(err, window)
}

// codeSite is proveSite, once for all processes with the same file, and not at all where the packer
// has done it for that file's build. code is what stands at the entry.
func (b *planner) codeSite(ctx context.Context, l *rtld.Library, seg *rtld.Segment, p *Patch,
	f ulp.Function, code []byte) (*site, error) {
	entry := l.Bias + f.OldValue
	k, err := b.v.known(ctx, l)
	if err != nil {
		return nil, err
	}
	if k != nil {
		if s := b.provenSite(ctx, k, l, p, f, code); s != nil {
			return s, nil
		}
		b.v.cache.recent(k)
		if s, err, ok := k.site(ctx, f, l.Bias-k.file.Library().Bias); ok {
			return s, err
		}
	}
	return b.proveSite(ctx, l, seg, f, entry)
}

// provenSite returns the site of a function that the packer has proven; nil if it has not. The
// proof is about the whole file. The checksum says that the process has mapped that file, and the
// kernel that the process has not changed its pages: see [Cache].
func (b *planner) provenSite(ctx context.Context, k *known, l *rtld.Library, p *Patch,
	f ulp.Function, code []byte) *site {
	if !p.proven.Has(f.OldValue) || !k.hasChecksum(ctx, p.proven.Checksum) {
		return nil
	}
	size, err := b.v.functionSize(ctx, l, f.Old, l.Bias+f.OldValue)
	if err != nil {
		return nil
	}
	place, err := hotpatch.Proven(code, l.Bias+f.OldValue, size)
	if err != nil {
		return nil
	}
	s := &site{entry: l.Bias + f.OldValue, kind: kindCode, landing: place.Landing, n: place.N}
	copy(s.at[:s.n], code[place.Off():])
	return s
}

// proveSite proves that a function without NOPs can have a detour.
func (b *planner) proveSite(ctx context.Context, l *rtld.Library, seg *rtld.Segment, f ulp.Function,
	entry uint64) (*site, error) {
	size, err := b.v.functionSize(ctx, l, f.Old, entry)
	if err != nil {
		return nil, err
	}
	t, err := b.text(ctx, l, seg)
	if err != nil {
		return nil, err
	}
	return codeSite(t, entry, size, l.Bias)
}

// text reads and searches a library's code, once for all functions of a plan: it may be large, and
// they may be many.
func (b *planner) text(ctx context.Context, l *rtld.Library,
	seg *rtld.Segment) (*hotpatch.Text, error) {
	if t := b.texts[seg.Start]; t != nil {
		return t, nil
	}
	frames, err := b.v.frames(ctx, l)
	if err != nil {
		return nil, err
	}
	t, size := &hotpatch.Text{Addr: seg.Start, Frames: frames, Loaded: true, Fixed: l.Bias == 0},
		uint64(0)
	if t.Symbols, err = b.v.starts(ctx, l); err != nil {
		return nil, err
	}
	m := b.v.m
	if f, ok := m.(*process.File); ok { // what the loader writes is not there
		m, t.Loaded = f.Whole(), t.Fixed
		if t.Pointers, err = rtld.Pointers(ctx, f.Whole(), l); err != nil {
			return nil, err
		}
	}
	for i := range l.Segments {
		o := &l.Segments[i]
		if o.Perm&rtld.PermExec == 0 && !o.File {
			continue // zeros, when the loader had mapped it
		}
		if size += o.End - o.Start; size > hotpatch.MaxText {
			return nil, fmt.Errorf("%w: %w", ErrEntry, hotpatch.ErrText)
		}
		data := make([]byte, o.End-o.Start)
		if _, err := m.ReadAt(ctx, data, o.Start); err != nil {
			return nil, err
		}
		code := hotpatch.Code{Bytes: data, Addr: o.Start}
		switch {
		case o == seg:
			t.Code = data
		case o.Perm&rtld.PermExec != 0:
			t.Others = append(t.Others, code)
		default:
			t.Data = append(t.Data, code)
		}
	}
	t.Index()
	b.texts[seg.Start] = t
	return t, nil
}

// starts returns the addresses of a library's symbols, in order.
func (v *view) starts(ctx context.Context, l *rtld.Library) ([]uint64, error) {
	symbols, err := v.loaded.Symbols(ctx, l)
	if err != nil || symbols == nil {
		return nil, err
	}
	list, err := symbols.Addresses(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

// functionSize returns how long a function is.
func (v *view) functionSize(ctx context.Context, l *rtld.Library, name string,
	entry uint64) (uint64, error) {
	symbols, err := v.loaded.Symbols(ctx, l)
	if err != nil {
		return 0, err
	}
	var size uint64
	if symbols != nil {
		base, version := symtab.SplitVersion(name)
		if s, err := symbols.Lookup(ctx, base, version); err == nil && s.Addr == entry {
			size = s.Size
		}
	}
	if symbols != nil && size == 0 { // another version of it, or another name
		for s, err := range symbols.All(ctx) {
			if size > 0 || err != nil {
				break
			}
			if s.Addr == entry {
				size = s.Size
			}
		}
	}
	if size == 0 {
		var frames *hotpatch.Frames
		if frames, err = v.frames(ctx, l); err == nil {
			size, err = frames.Size(entry)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w: %w", ErrEntry, hotpatch.ErrSize, err)
	}
	if size == 0 || size > hotpatch.MaxFunction || !l.Contains(entry, size) {
		return 0, fmt.Errorf("%w: %w", ErrEntry, hotpatch.ErrSize)
	}
	return size, nil
}
