package elfx

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
)

// Segment is an entry of the program header table.
type Segment struct {
	Type   elf.ProgType
	Flags  elf.ProgFlag
	Offset uint64
	Vaddr  uint64
	Filesz uint64
	Memsz  uint64
}

// parseSegments reads the program header table. Where the segments lie is left to CheckSegments, because those of
// separate debuginfo files describe another file.
func (f *File) parseSegments() error {
	off, entsize, count := le.Uint64(f.Image[32:]), le.Uint16(f.Image[54:]), le.Uint16(f.Image[56:])
	switch {
	case count == 0:
		return nil
	case count == 0xffff: // PN_XNUM
		return fail(56, "ELF header: number of program headers", fmt.Errorf("%w: 65535 and more", ErrUnsupported))
	case entsize != segmentSize:
		return fail(54, "ELF header: program header table", errEntsize)
	}
	table, err := f.table(off, uint64(count), segmentSize, "program header table")
	if err != nil {
		return err
	}
	f.Segments = make([]Segment, count)
	for i := range f.Segments {
		b := table[i*segmentSize:]
		f.Segments[i] = Segment{
			Type:   elf.ProgType(le.Uint32(b)),
			Flags:  elf.ProgFlag(le.Uint32(b[4:])),
			Offset: le.Uint64(b[8:]),
			Vaddr:  le.Uint64(b[16:]),
			Filesz: le.Uint64(b[32:]),
			Memsz:  le.Uint64(b[40:]),
		}
	}
	return nil
}

// SegmentTableEnd returns the offset behind the program header table.
func (f *File) SegmentTableEnd() uint64 {
	return le.Uint64(f.Image[32:]) + uint64(len(f.Segments))*segmentSize
}

// CheckSegments returns an error unless the bytes of every segment lie in the file.
func (f *File) CheckSegments() error {
	for i, p := range f.Segments {
		if p.Type == elf.PT_NULL {
			continue
		}
		if _, err := f.slice(p.Offset, p.Filesz, fmt.Sprintf("segment %d", i)); err != nil {
			return err
		}
	}
	return nil
}

// Segment returns the first segment of that type, nil if there is none.
func (f *File) Segment(t elf.ProgType) *Segment {
	if i := slices.IndexFunc(f.Segments, func(p Segment) bool { return p.Type == t }); i >= 0 {
		return &f.Segments[i]
	}
	return nil
}

// Layout says how the segments of a file lie in memory when it is loaded. It does not refer to the file's bytes.
type Layout struct {
	loads []Segment // by address, without overlap
	relro Segment
}

// at returns the loaded segment that has the address, nil if none has.
func (l *Layout) at(addr uint64) *Segment {
	i, found := slices.BinarySearchFunc(l.loads, addr, func(p Segment, addr uint64) int { return cmp.Compare(p.Vaddr, addr) })
	if !found {
		i--
	}
	if i < 0 || addr-l.loads[i].Vaddr >= l.loads[i].Memsz {
		return nil
	}
	return &l.loads[i]
}

// Writable says whether memory at addr stays writable after relocation: it is loaded, writable and not RELRO.
func (l *Layout) Writable(addr uint64) bool {
	p := l.at(addr)
	return p != nil && p.Flags&elf.PF_W != 0 && addr-l.relro.Vaddr >= l.relro.Memsz
}

// Memory is what the segments of a file become when it is loaded. It is for one goroutine at a time.
type Memory struct {
	Layout
	image []byte
	last  *Segment // in which code was found last
}

// Memory returns the file's memory. It is an error if CheckSegments is, or if loaded segments are out of order.
func (f *File) Memory() (*Memory, error) {
	if err := f.CheckSegments(); err != nil {
		return nil, err
	}
	m := &Memory{image: f.Image}
	end := uint64(0)
	for _, p := range f.Segments {
		switch p.Type {
		case elf.PT_GNU_RELRO:
			m.relro = p
		case elf.PT_LOAD:
			if p.Vaddr < end || p.Vaddr+p.Memsz < p.Vaddr || p.Memsz < p.Filesz {
				return nil, fail(p.Offset, "loaded segment", errors.New("not in the order of the addresses"))
			}
			end = p.Vaddr + p.Memsz
			m.loads = append(m.loads, p)
		}
	}
	return m, nil
}

// bytes returns the file's bytes of the memory from addr to the end of the segment p, none if there are none.
func (m *Memory) bytes(p *Segment, addr uint64) []byte {
	if p == nil || addr-p.Vaddr >= p.Filesz {
		return nil
	}
	return m.image[p.Offset+(addr-p.Vaddr) : p.Offset+p.Filesz]
}

// From returns the file's bytes of the memory from addr to the end of its segment, none if there are none.
func (m *Memory) From(addr uint64) []byte { return m.bytes(m.at(addr), addr) }

// Code is From for an address in an executable segment, and none for others.
func (m *Memory) Code(addr uint64) []byte {
	// Neighbours in a table are mostly neighbours in memory.
	if m.last != nil && addr-m.last.Vaddr < m.last.Memsz {
		return m.bytes(m.last, addr)
	}
	p := m.at(addr)
	if p == nil || p.Flags&elf.PF_X == 0 {
		return nil
	}
	m.last = p
	return m.bytes(p, addr)
}
