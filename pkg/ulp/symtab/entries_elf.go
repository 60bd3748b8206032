package symtab

import (
	"debug/elf"
	"errors"
	"maps"
	"slices"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// prover makes the proofs of a library from its file. What it looks at is what the native engine
// would find in a process: segments as they are mapped, sizes from .dynsym, and of functions that
// are not in there from the unwind information.
type prover struct {
	texts    []text
	frames   *hotpatch.Frames // nil if there is no such information
	data     []hotpatch.Code  // segments without code
	fixed    bool             // it is loaded where it says
	sizes    map[uint64][]uint64
	symbols  []uint64 // addresses of all
	pointers []uint64 // that relocations make
	unread   bool     // not all of the data could be read
}

// text is an executable segment.
type text struct {
	mapped
	all  *hotpatch.Text // once somebody asks about it
	left uint64         // bytes of functions that may still be decoded: functions may overlap
}

// mapped is a segment with its bytes; none if there are too many.
type mapped struct {
	elfx.Segment
	addr  uint64
	pages []byte
}

// at returns size bytes at an address, nil if they are not all there.
func (m *mapped) at(addr, size uint64) []byte {
	off := addr - m.addr
	if addr < m.addr || off > uint64(len(m.pages)) || size > uint64(len(m.pages))-off {
		return nil
	}
	return m.pages[off : off+size]
}

// Contains is of hotpatch.Memory.
func (m *mapped) Contains(addr, size uint64) bool { return m.at(addr, size) != nil }

// Read is of hotpatch.Memory.
func (m *mapped) Read(b []byte, addr uint64) error {
	copy(b, m.at(addr, uint64(len(b))))
	return nil
}

// Bounds of what is looked at: a hostile file has any number of segments.
const (
	maxTexts  = 16
	maxSizes  = 8        // of one function, by its names
	maxFrames = 64 << 20 // bytes of the segment with the unwind information
	overlap   = 16       // how many times the code's size may be decoded
)

func newProver(f *elfx.File) (*prover, error) {
	p := &prover{sizes: map[uint64][]uint64{}, fixed: f.Type == elf.ET_EXEC}
	frames := f.Segment(elf.PT_GNU_EH_FRAME)
	for _, s := range f.Segments {
		if s.Type != elf.PT_LOAD {
			continue
		}
		if s.Flags&elf.PF_X != 0 {
			if len(p.texts) == maxTexts {
				return nil, &FormatError{Off: int64(s.Offset), What: "segments with code",
					Err: errors.New("are too many")}
			}
			t := text{mapped: mapped{Segment: s}}
			var err error
			if t.addr, t.pages, err = f.Pages(&s, hotpatch.MaxText); err != nil {
				return nil, err
			}
			t.left = overlap * uint64(len(t.pages))
			p.texts = append(p.texts, t)
		} else if err := p.addData(f, &s); err != nil {
			return nil, err
		}
		if frames != nil && p.frames == nil && frames.Vaddr >= s.Vaddr &&
			frames.Vaddr-s.Vaddr < s.Filesz {
			m := &mapped{Segment: s}
			var err error
			if m.addr, m.pages, err = f.Pages(&s, maxFrames); err != nil {
				return nil, err
			}
			if p.frames, err = hotpatch.ReadFrames(m, frames.Vaddr, frames.Memsz); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// proveEntries makes the proofs of all functions that the tables of the library name, and finds
// those with handlers.
func (l *Library) proveEntries(f *elfx.File) error {
	if l.Arch != X86_64 {
		return nil
	}
	p, err := newProver(f)
	if err != nil {
		return err
	}
	l.resolvers = p.findResolvers(l, f)
	p.addPointers(f, l)
	p.addSymbols(l)
	functions := map[uint64]bool{} // and whether NOPs are listed for them
	for t, r := range l.symbols.each() {
		if r.flags&flagUndefined != 0 || elf.ST_TYPE(r.info) != elf.STT_FUNC {
			continue
		}
		functions[r.value] = functions[r.value] || r.flags&flagPatchable != 0
		if t == &l.symbols.tables[0] && r.size > 0 {
			p.addSize(r.value, r.size)
		}
	}
	byWhy := map[string][]uint64{}
	for _, addr := range slices.Sorted(maps.Keys(functions)) {
		if has, why := p.entry(addr); !has || !functions[addr] {
			byWhy[why] = append(byWhy[why], addr)
		}
	}
	l.proofs, l.handlers = proofsOf(byWhy), p.findHandlers(functions)
	if l.parts, err = p.findParts(l); err != nil {
		return err
	}
	l.checksum, err = f.Checksum()
	return err
}

// proveResolvers finds out what indirect functions can return, if there are any.
func (l *Library) proveResolvers(f *elfx.File) error {
	if l.Arch != X86_64 || len(l.symbols.indirect()) == 0 {
		return nil
	}
	p, err := newProver(f)
	if err != nil {
		return err
	}
	l.resolvers = p.findResolvers(l, f)
	return nil
}

// proofsOf makes a verdict for each reason.
func proofsOf(byWhy map[string][]uint64) proofs {
	list := proofs{}
	for _, why := range slices.Sorted(maps.Keys(byWhy)) {
		list = append(list, verdict{why, byWhy[why]})
	}
	return list
}

// addSize notes a size of a function. If it has too many, it has none.
func (p *prover) addSize(addr, size uint64) {
	switch sizes := p.sizes[addr]; {
	case slices.Contains(sizes, size):
	case len(sizes) < maxSizes:
		p.sizes[addr] = append(sizes, size)
	default:
		sizes[0] = 0
	}
}

// entry reports whether a function has the NOPs, or why no jump can be put at it; "" if one can.
func (p *prover) entry(addr uint64) (hasNOPs bool, why string) {
	i := slices.IndexFunc(p.texts, func(t text) bool {
		return addr >= t.Vaddr && addr-t.Vaddr < t.Filesz
	})
	if i < 0 {
		return false, whyNot(hotpatch.ErrOutside)
	}
	t := &p.texts[i]
	if t.pages == nil {
		return false, whyNot(hotpatch.ErrText)
	}
	window := t.at(addr-hotpatch.BeforeLen, hotpatch.Window)
	if window == nil {
		return false, whyNot(hotpatch.ErrOutside)
	}
	if hotpatch.HasNOPs(window) {
		return true, ""
	}
	return false, whyNot(p.prove(t, addr))
}

// prove proves that a jump can be put at a function. Should .dynsym have it with several sizes, it
// must be so for each.
func (p *prover) prove(t *text, addr uint64) error {
	sizes := p.sizes[addr]
	if len(sizes) == 0 && p.frames != nil {
		size, err := p.frames.Size(addr)
		if err != nil {
			return err
		}
		sizes = []uint64{size}
	}
	if len(sizes) == 0 {
		return hotpatch.ErrSize
	}
	if t.all == nil {
		all, err := p.all(t)
		if err != nil {
			return err
		}
		t.all = all
	}
	for _, size := range sizes {
		if size > t.left {
			return hotpatch.ErrText
		}
		t.left -= size
		if _, err := t.all.Entry(addr, size); err != nil {
			return err
		}
	}
	return nil
}

// all returns a segment with whatever may branch into it.
func (p *prover) all(t *text) (*hotpatch.Text, error) {
	all, size := &hotpatch.Text{Code: t.pages, Addr: t.addr, Frames: p.frames, Data: p.data,
		Symbols: p.symbols, Pointers: p.pointers, Loaded: p.fixed, Fixed: p.fixed}, 0
	for i := range p.texts {
		o := &p.texts[i]
		if size += len(o.pages); o.pages == nil || size > hotpatch.MaxText || p.unread {
			return nil, hotpatch.ErrText
		}
		if o != t {
			all.Others = append(all.Others, hotpatch.Code{Bytes: o.pages, Addr: o.addr})
		}
	}
	all.Index()
	return all, nil
}

// whyNot returns the words of a reason that are the same for all functions like it; "" for no
// error.
func whyNot(err error) string {
	e, ok := errors.AsType[*hotpatch.Error](err)
	switch {
	case err == nil:
		return ""
	case !ok:
		return err.Error()
	}
	return e.Why
}
