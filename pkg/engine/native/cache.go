package native

import (
	"context"
	"debug/elf"
	"errors"
	"sync"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Cache keeps what was found out about libraries, for all processes of a run that have the same
// file of one in memory: where symbols are, what each entry looks like, and whether a jump is safe
// there. The zero value works, for several goroutines at once; a nil Cache keeps nothing.
//
// What one process's memory says never decides about another. So nothing in a Cache comes from the
// memory of a process: it is found out from the library's file ([process.File]), and it counts in a
// process only where the kernel says that the file's own pages stand in its memory, unmodified. In
// any other process all is found out anew, from its memory: one that has written to its code, or
// has another file with the same build-id, and all where the kernel does not tell.
type Cache struct {
	mu    sync.Mutex
	files map[process.FileStamp]*known
	last  *known // whose code is kept
}

// maxSymbolsKnown is how many look-ups in a library are kept.
const maxSymbolsKnown = 1 << 12

// maxKnown is how many files a Cache keeps open.
const maxKnown = 128

// known is what is known of a library's file.
type known struct {
	lock  chan struct{} // held while the rest is used
	file  *process.File // nil: it cannot be read
	tried bool
	p     planner // which plans with the file as if it were a process

	checksum  uint32 // of the file, if it was summed; 0: it could not be, or is too large
	summed    bool
	needed    []string
	hasNeeded bool
	sites     map[ulp.Function]verdict[site]
	handlers  map[uint64]error            // by the address as linked
	parts     map[uint64][]hotpatch.Range // relative to the bias, of the function there
	symbols   map[rtld.Reference]verdict[rtld.Symbol]
	exported  map[*Patch]bool // live patches whose functions are what the library exports
}

// verdict is what was found, or why not.
type verdict[T any] struct {
	v   T
	err error
}

// NewView is the function [NewView] with a Cache.
func (c *Cache) NewView(ctx context.Context, p *process.Process, m *process.Memory,
	libs []*rtld.Library) (*View, error) {
	v, err := process.Whole(ctx, func(ctx context.Context) (*View, error) {
		return newView(ctx, c, p, m, libs)
	})
	return v, pidError(p.PID, "live patches", err)
}

// of returns what is known of the file whose pages are a library's in a process; nil if nothing is.
func (c *Cache) of(ctx context.Context, m *process.Memory, l *rtld.Library) (*known, error) {
	if c == nil {
		return nil, nil
	}
	stamp, err := m.Stamp(ctx, l)
	if err != nil {
		return nil, ignore(err)
	}
	k := c.entry(stamp)
	if k == nil {
		return nil, nil
	}
	if err := k.take(ctx); err != nil {
		return nil, err
	}
	if !k.tried {
		err = k.open(ctx, m, l, stamp)
	}
	file := k.file
	k.leave()
	if file == nil || err != nil {
		return nil, ignore(err)
	}
	backs, err := file.Backs(ctx, m, l)
	if !backs || err != nil {
		return nil, ignore(err)
	}
	return k, nil
}

// ignore returns nil for errors after which it can go on without a Cache.
func ignore(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, process.ErrGone) || errors.Is(err, process.ErrChanged) {
		return err
	}
	return nil
}

func (c *Cache) entry(stamp process.FileStamp) *known {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.files[stamp]
	if k == nil && len(c.files) < maxKnown {
		k = &known{lock: make(chan struct{}, 1), sites: map[ulp.Function]verdict[site]{},
			handlers: map[uint64]error{}, parts: map[uint64][]hotpatch.Range{},
			symbols: map[rtld.Reference]verdict[rtld.Symbol]{}, exported: map[*Patch]bool{}}
		if c.files == nil {
			c.files = map[process.FileStamp]*known{}
		}
		c.files[stamp] = k
	}
	return k
}

// recent forgets the code of the file before: it is only needed for functions that nobody has asked
// about yet.
func (c *Cache) recent(k *known) {
	c.mu.Lock()
	last := c.last
	c.last = k
	c.mu.Unlock()
	if last != nil && last != k {
		select {
		case last.lock <- struct{}{}:
			clear(last.p.texts)
			last.leave()
		default: // it is in use
		}
	}
}

func (k *known) take(ctx context.Context) error {
	select {
	case k.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *known) leave() { <-k.lock }

// open opens the file, once: one that is not as it was when its stamp was taken counts as none.
func (k *known) open(ctx context.Context, m *process.Memory, l *rtld.Library,
	stamp process.FileStamp) error {
	file, err := m.OpenFile(ctx, l)
	if e := ignore(err); e != nil {
		return e
	}
	k.tried = true
	if err != nil || file.Stamp() != stamp {
		return nil
	}
	k.file = file
	v := blankView(nil, file, []*rtld.Library{file.Library()})
	k.p = planner{Plan: &Plan{}, v: v, texts: map[uint64]*hotpatch.Text{}}
	return nil
}

// site returns what a function's entry without NOPs is found to be; ok is false if that is not
// known.
func (k *known) site(ctx context.Context, f ulp.Function, move uint64) (s *site, err error,
	ok bool) {
	if k.take(ctx) != nil {
		return nil, nil, false
	}
	defer k.leave()
	found, ok := k.sites[f]
	if !ok {
		lib := k.file.Library()
		seg := lib.Segment(lib.Bias + f.OldValue)
		if seg == nil {
			return nil, nil, false
		}
		s, err := k.p.proveSite(ctx, lib, seg, f, lib.Bias+f.OldValue)
		switch {
		case err == nil:
			found.v = *s
		case errors.Is(err, ErrEntry) && !errors.Is(err, process.ErrUnreadable):
			found.err = err
		default:
			return nil, nil, false
		}
		k.sites[f] = found
	}
	if found.err != nil {
		return nil, found.err, true
	}
	moved := found.v
	moved.entry += move
	return &moved, nil, true
}

// maxSummed bounds the files that are summed, in bytes. A proof in a larger one is made again.
const maxSummed = 64 << 20

// hasChecksum reports whether the file has this checksum.
func (k *known) hasChecksum(ctx context.Context, sum uint32) bool {
	if k.take(ctx) != nil {
		return false
	}
	defer k.leave()
	if content := k.file.Content(); !k.summed && content.Size() <= maxSummed {
		if got, err := elfx.Checksum(content); err == nil {
			k.checksum = got
		}
	}
	k.summed = true
	return sum != 0 && k.checksum == sum
}

// partsOf returns the parts of a function that are elsewhere, in a library with a bias; ok is false
// if they are not known. The function is as far from the bias.
func (k *known) partsOf(ctx context.Context, at, size, bias uint64) (parts []hotpatch.Range,
	ok bool) {
	if k.take(ctx) != nil {
		return nil, false
	}
	defer k.leave()
	found, ok := k.parts[at]
	if lib := k.file.Library(); !ok {
		seg := lib.Segment(lib.Bias + at)
		if seg == nil || size > seg.End-lib.Bias-at {
			return nil, false
		}
		t, err := k.p.text(ctx, lib, seg)
		if err != nil {
			return nil, false
		}
		if found, err = t.Parts(lib.Bias+at, t.Code[lib.Bias+at-t.Addr:][:size]); err != nil {
			return nil, false // there is more to say of it in a process
		}
		for i := range found {
			found[i].From, found[i].To = found[i].From-lib.Bias, found[i].To-lib.Bias
		}
		k.parts[at] = found
	}
	for _, p := range found {
		parts = append(parts, hotpatch.Range{From: bias + p.From, To: bias + p.To})
	}
	return parts, true
}

// symbol returns what a reference is bound to in the library; ok is false if that is not known.
func (k *known) symbol(ctx context.Context, ref rtld.Reference, move uint64) (sym rtld.Symbol,
	err error, ok bool) {
	if k.take(ctx) != nil {
		return sym, nil, false
	}
	defer k.leave()
	found, ok := k.symbols[ref]
	if !ok {
		lib := k.file.Library()
		symbols, err := k.p.v.loaded.Symbols(ctx, lib)
		if err != nil || symbols == nil {
			return sym, nil, false
		}
		if found.v, found.err = symbols.Bind(ctx, ref); found.err != nil &&
			!errors.Is(found.err, ulp.ErrNoSymbol) {
			return sym, nil, false
		}
		if len(k.symbols) < maxSymbolsKnown {
			k.symbols[ref] = found
		}
	}
	sym = found.v
	if found.err == nil && !sym.Absolute && sym.Type != elf.STT_TLS {
		sym.Addr += move
	}
	return sym, found.err, true
}

// exports reports whether the functions that a live patch replaces are known to be what the library
// exports.
func (k *known) exports(ctx context.Context, p *Patch) bool {
	if k.take(ctx) != nil {
		return false
	}
	defer k.leave()
	if !k.exported[p] {
		symbols, err := k.p.v.loaded.Symbols(ctx, k.file.Library())
		k.exported[p] = err == nil && symbols != nil &&
			symbols.CheckReplaced(ctx, p.Meta.Functions) == nil
	}
	return k.exported[p]
}

// needs returns the library's DT_NEEDED entries; ok is false if they are not known.
func (k *known) needs(ctx context.Context) (list []string, ok bool) {
	if k.take(ctx) != nil {
		return nil, false
	}
	defer k.leave()
	if !k.hasNeeded {
		symbols, err := k.p.v.loaded.Symbols(ctx, k.file.Library())
		if err != nil || symbols == nil {
			return nil, false
		}
		if k.needed, err = symbols.Needed(ctx); err != nil {
			return nil, false
		}
		k.hasNeeded = true
	}
	return k.needed, true
}

// handles returns whether the function at an address, as linked, has handlers; ok is false if that
// is not known.
func (k *known) handles(ctx context.Context, at uint64) (err error, ok bool) {
	if k.take(ctx) != nil {
		return nil, false
	}
	defer k.leave()
	err, ok = k.handlers[at]
	if ok {
		return err, true
	}
	lib := k.file.Library()
	f, err := k.p.v.frames(ctx, lib)
	if err != nil {
		return nil, false
	}
	if err = f.Handlers(lib.Bias + at); err != nil && !errors.Is(err, hotpatch.ErrHandlers) {
		return nil, false // ErrFrame, of which there is more to say in a process
	}
	k.handlers[at] = err
	return err, true
}

// known returns what is known of a library's file; nil: nothing.
func (v *view) known(ctx context.Context, l *rtld.Library) (*known, error) {
	k, ok := v.files[l]
	m, real := v.m.(*process.Memory)
	if ok || !real {
		return k, nil
	}
	k, err := v.cache.of(ctx, m, l)
	if err == nil {
		v.files[l] = k
	}
	return k, err
}

// fileFacts tells of libraries what is known of their files.
type fileFacts struct{ v *view }

// Needed implements [rtld.Facts].
func (f fileFacts) Needed(ctx context.Context, l *rtld.Library) (list []string, ok bool,
	err error) {
	k, err := f.v.known(ctx, l)
	if k == nil || err != nil {
		return nil, false, err
	}
	list, ok = k.needs(ctx)
	return list, ok, nil
}

// Bind implements [rtld.Facts].
func (f fileFacts) Bind(ctx context.Context, l *rtld.Library, ref rtld.Reference) (sym rtld.Symbol,
	ok bool, err error) {
	k, err := f.v.known(ctx, l)
	if k == nil || err != nil {
		return sym, false, err
	}
	sym, err, ok = k.symbol(ctx, ref, l.Bias-k.file.Library().Bias)
	return sym, ok, err
}
