package native

import (
	"fmt"
	"hash/crc32"
)

// A table belongs to one library of a process. It is between the library's functions and the live
// patches:
//
//	entry of a function ──► stub: jmp *slot ──► replacement, or on with the function itself
//
// All slots lie in one page, together with the list of what is applied. A write of that page is one
// copy in the kernel, so that all functions of all live patches of the library switch at one
// instant, whatever becomes of the engine; and a live patch that others were put on top of can be
// reverted by changing slots.
//
// In memory: the page; records of the sites; stubs. All of it is read-only to the process, the
// stubs are executable. In memory files of earlier versions nothing else was.
type table struct {
	base     uint64
	buildID  []byte // of the library
	bias     uint64 // of the library
	patches  []activePatch
	sites    []*site  // by slot
	slots    []uint64 // where each slot leads to
	unloaded bool     // nothing leads to it: see markUnloaded
}

// activePatch is an entry of a table: a live patch that is applied, by the place of its mapping.
// Later ones are on top of earlier ones. What it replaces is in its patchRecord.
type activePatch struct {
	base, size uint64
	serial     uint64
}

const (
	tableMagic = "LPBTABL1"
	// oldRecordMagic is that of records which do not say where the code is.
	oldRecordMagic = "LPBPTCH1"
	recordMagic    = "LPBPTCH2"
	maxPatches     = 32
	maxSlots       = 384
	patchesAt      = 128
	patchEntrySize = 24
	slotsAt        = pageSize - 8*maxSlots
	siteSize       = 64
	stubSize       = 64
	sitesAt        = pageSize
	stubsAt        = sitesAt + maxSlots*siteSize
	tableSize      = stubsAt + maxSlots*stubSize
	movedAt        = 8 // in a stub
	maxIDLen       = 32
	// a constant 0, or the next line does not compile
	sitesAligned = maxSlots*siteSize%pageSize + maxSlots*stubSize%pageSize
)

var _ [0]struct{} = [sitesAligned]struct{}{}

func (t *table) stub(slot int) uint64 { return t.base + stubsAt + uint64(slot)*stubSize }

// origin is the former code, where a slot leads to while no live patch replaces its function, and
// lpbuild_original_NAME always: to the function after the detour, or to the instructions that the
// detour replaced.
func (t *table) origin(slot int) uint64 {
	if s := t.sites[slot]; s.kind != kindCode {
		return s.resume()
	}
	return t.stub(slot) + movedAt
}

// find returns the slot of a function, -1 if it has none.
func (t *table) find(entry uint64) int {
	for i, s := range t.sites {
		if s.entry == entry {
			return i
		}
	}
	return -1
}

// encodePage returns the table's first page.
func (t *table) encodePage() []byte {
	b := make([]byte, pageSize)
	copy(b, tableMagic)
	le.PutUint64(b[16:], t.base)
	le.PutUint64(b[24:], t.bias)
	le.PutUint32(b[32:], uint32(len(t.patches)))
	le.PutUint32(b[36:], uint32(len(t.slots)))
	le.PutUint32(b[40:], uint32(len(t.buildID)))
	copy(b[44:44+maxIDLen], t.buildID)
	for i, l := range t.patches {
		at := b[patchesAt+i*patchEntrySize:]
		le.PutUint64(at, l.base)
		le.PutUint64(at[8:], l.size)
		le.PutUint64(at[16:], l.serial)
	}
	for i, v := range t.slots {
		le.PutUint64(b[slotsAt+8*i:], v)
	}
	putSum(b[8:], b[12:])
	return b
}

// parsePage reads the first page, without the sites.
func parsePage(b []byte, base uint64) (*table, error) {
	if len(b) != pageSize || string(b[:8]) != tableMagic ||
		le.Uint32(b[8:]) != crc32.ChecksumIEEE(b[12:]) {
		return nil, fmt.Errorf("table: %w", ErrDamaged)
	}
	patches, slots, id := le.Uint32(b[32:]), le.Uint32(b[36:]), le.Uint32(b[40:])
	if le.Uint64(b[16:]) != base || patches > maxPatches || slots > maxSlots || id > maxIDLen {
		return nil, fmt.Errorf("table at %#x: %w", base, ErrDamaged)
	}
	t := &table{base: base, bias: le.Uint64(b[24:]), buildID: append([]byte{}, b[44:44+id]...)}
	for i := range patches {
		at := b[patchesAt+i*patchEntrySize:]
		t.patches = append(t.patches, activePatch{le.Uint64(at), le.Uint64(at[8:]),
			le.Uint64(at[16:])})
	}
	for i := range slots {
		t.slots = append(t.slots, le.Uint64(b[slotsAt+8*i:]))
	}
	return t, nil
}

// encodeSite returns the record of a site.
func (s *site) encode() []byte {
	b := make([]byte, siteSize)
	le.PutUint64(b, s.entry)
	b[8], b[10] = byte(s.kind), byte(s.n)
	if s.landing {
		b[9] = 1
	}
	copy(b[11:], s.before[:])
	copy(b[11+beforeLen:], s.at[:])
	putSum(b[60:], b[:60])
	return b
}

func parseSite(b []byte) (*site, error) {
	s := &site{entry: le.Uint64(b), kind: kind(b[8]), landing: b[9] == 1, n: int(b[10])}
	ok := le.Uint32(b[60:]) == crc32.ChecksumIEEE(b[:60]) && b[9] <= 1 && s.entry > pageSize &&
		s.entry < 1<<47
	switch s.kind {
	case kindNOPs, kindSplit:
		ok = ok && s.n == atLen
	case kindCode:
		ok = ok && s.n >= nearLen && s.n <= codeLen
	default:
		ok = false
	}
	if !ok {
		return nil, fmt.Errorf("record of a function: %w", ErrDamaged)
	}
	copy(s.before[:], b[11:])
	copy(s.at[:], b[11+beforeLen:])
	return s, nil
}

// encodeStub returns a slot's stub.
func (t *table) encodeStub(slot int) ([]byte, error) {
	b := make([]byte, stubSize)
	b[0], b[1] = 0xff, 0x25 // jmp *slot(%rip)
	le.PutUint32(b[2:], uint32(int32(int64(t.base+slotsAt+8*uint64(slot)-t.stub(slot)-6))))
	if s := t.sites[slot]; s.kind == kindCode {
		moved, err := s.moved(t.stub(slot) + movedAt)
		if err != nil {
			return nil, err
		}
		copy(b[movedAt:], moved)
	}
	return b, nil
}

// encode returns the whole table, for a new mapping.
func (t *table) encode() ([]content, error) {
	sites, stubs := make([]byte, 0, len(t.sites)*siteSize), make([]byte, 0, len(t.sites)*stubSize)
	for i, s := range t.sites {
		stub, err := t.encodeStub(i)
		if err != nil {
			return nil, err
		}
		sites, stubs = append(sites, s.encode()...), append(stubs, stub...)
	}
	return []content{{0, t.encodePage()}, {sitesAt, sites}, {stubsAt, stubs}}, nil
}
