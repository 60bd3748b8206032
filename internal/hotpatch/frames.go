package hotpatch

import (
	"encoding/binary"
	"sort"
)

// Encodings in .eh_frame_hdr, of which every linker uses these.
const (
	encUdata4      = 0x03
	encDataSdata4  = 0x3b
	frameHeaderLen = 12
	maxFrames      = 1 << 20
)

// Memory is where a library is loaded, or would be.
type Memory interface {
	// Contains reports whether size bytes at an address are the library's.
	Contains(addr, size uint64) bool
	// Read fills b with what is at an address that Contains knows.
	Read(b []byte, addr uint64) error
}

// Frames is the table of a library's unwind information, which stripped libraries have too.
type Frames struct {
	m       Memory
	at      uint64
	table   []byte
	unusual bool // there is one that is not understood
}

// ReadFrames reads the table from the segment PT_GNU_EH_FRAME. One that does not have the usual
// form is empty.
func ReadFrames(m Memory, at, size uint64) (*Frames, error) {
	f := &Frames{m: m, at: at}
	if size < frameHeaderLen || !m.Contains(at, size) {
		f.unusual = size > 0
		return f, nil
	}
	var head [frameHeaderLen]byte
	if err := m.Read(head[:], at); err != nil {
		return nil, err
	}
	count := uint64(binary.LittleEndian.Uint32(head[8:]))
	if head[2] != encUdata4 || head[3] != encDataSdata4 || count > maxFrames ||
		size < frameHeaderLen+8*count {
		f.unusual = true
		return f, nil
	}
	f.table = make([]byte, 8*count)
	return f, m.Read(f.table, at+frameHeaderLen)
}

// Size returns how long the function at an address is; 0: not known. What does not have the usual
// form is not known.
func (f *Frames) Size(entry uint64) (uint64, error) {
	var fde [16]byte // length, distance to the CIE, first address relative to itself, size
	at, ok := f.find(entry)
	if !ok || !f.m.Contains(at, uint64(len(fde))) {
		return 0, nil
	}
	if err := f.m.Read(fde[:], at); err != nil {
		return 0, err
	}
	if at+8+uint64(int64(int32(binary.LittleEndian.Uint32(fde[8:])))) != entry {
		return 0, nil
	}
	return uint64(binary.LittleEndian.Uint32(fde[12:])), nil
}

// find returns where the record (FDE) of the function at an address is.
func (f *Frames) find(entry uint64) (at uint64, ok bool) {
	count := len(f.table) / 8
	i := sort.Search(count, func(i int) bool { return f.place(2*i) >= entry })
	if i == count || f.place(2*i) != entry {
		return 0, false
	}
	return f.place(2*i + 1), true
}

// place returns an address in the table: of a function, and then of its record.
func (f *Frames) place(i int) uint64 {
	return f.at + uint64(int64(int32(binary.LittleEndian.Uint32(f.table[4*i:]))))
}

// functions calls yield for the functions that have anything in [lo, hi), in the order of their
// addresses. Where they overlap the first one counts.
func (f *Frames) functions(lo, hi uint64, yield func(entry, size uint64)) error {
	count := len(f.table) / 8
	from := max(0, sort.Search(count, func(i int) bool { return f.place(2*i) > lo })-1)
	end := uint64(0)
	for i := from; i < count && f.place(2*i) < hi; i++ {
		entry := f.place(2 * i)
		size, err := f.Size(entry)
		if err != nil {
			return err
		}
		if entry < end || size == 0 || entry+size <= lo || entry+size < entry {
			continue
		}
		end = entry + size
		yield(entry, size)
	}
	return nil
}

// spans reports whether a function that begins before an address goes on there.
func (f *Frames) spans(addr uint64) bool {
	i := sort.Search(len(f.table)/8, func(i int) bool { return f.place(2*i) >= addr }) - 1
	if i < 0 {
		return false
	}
	size, err := f.Size(f.place(2 * i))
	return err != nil || size > addr-f.place(2*i)
}
