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

// parseSegments reads the program header table. Where the segments lie is left to CheckSegments,
// because those of separate debuginfo files describe another file.
func (f *File) parseSegments() error {
	off, entsize, count := le.Uint64(f.header[32:]), le.Uint16(f.header[54:]),
		le.Uint16(f.header[56:])
	switch {
	case count == 0:
		return nil
	case count == 0xffff: // PN_XNUM
		return fail(56, "ELF header: number of program headers",
			fmt.Errorf("%w: 65535 and more", ErrUnsupported))
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

// SegmentTableEnd returns the offset after the program header table.
func (f *File) SegmentTableEnd() uint64 {
	return le.Uint64(f.header[32:]) + uint64(len(f.Segments))*segmentSize
}

// CheckSegments returns an error unless the bytes of every segment lie in the file.
func (f *File) CheckSegments() error {
	for i, p := range f.Segments {
		if p.Type == elf.PT_NULL {
			continue
		}
		if f.within(p.Offset, p.Filesz, "") != nil {
			return fail(p.Offset, fmt.Sprintf("segment %d", i), errBounds)
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

// Layout says how the segments of a file lie in memory when it is loaded. It does not refer to the
// file's bytes.
type Layout struct {
	loads []Segment // by address, without overlap
	relro Segment
}

// at returns the loaded segment that has the address, nil if none has.
func (l *Layout) at(addr uint64) *Segment {
	i, found := slices.BinarySearchFunc(l.loads, addr, func(p Segment, addr uint64) int {
		return cmp.Compare(p.Vaddr, addr)
	})
	if !found {
		i--
	}
	if i < 0 || addr-l.loads[i].Vaddr >= l.loads[i].Memsz {
		return nil
	}
	return &l.loads[i]
}

// Writable reports whether memory at addr stays writable after relocation: it is loaded, writable
// and not RELRO.
func (l *Layout) Writable(addr uint64) bool {
	p := l.at(addr)
	return p != nil && p.Flags&elf.PF_W != 0 && addr-l.relro.Vaddr >= l.relro.Memsz
}

// Memory is what the segments of a file become when it is loaded. It is for one goroutine at a
// time.
type Memory struct {
	Layout
	f     *File
	code  *Segment // in which code was found last
	near  []byte   // of a file: the bytes that were read last
	start uint64   // the offset at which they are
	spent uint64   // bytes that were read
	err   error
}

// Stretches of code that are read from a file at once, and how much of it there is after an
// address whose code is asked for, unless the segment ends before: more than anybody looks at.
const (
	stretch = 64 << 10
	enough  = 2 << 10
)

// Memory returns the file's memory. It is an error if CheckSegments is, or if loaded segments are
// out of order.
func (f *File) Memory() (*Memory, error) {
	if err := f.CheckSegments(); err != nil {
		return nil, err
	}
	m := &Memory{f: f}
	end := uint64(0)
	for _, p := range f.Segments {
		switch p.Type {
		case elf.PT_GNU_RELRO:
			m.relro = p
		case elf.PT_LOAD:
			if p.Vaddr < end || p.Vaddr+p.Memsz < p.Vaddr || p.Memsz < p.Filesz {
				return nil, fail(p.Offset, "loaded segment",
					errors.New("not in the order of the addresses"))
			}
			end = p.Vaddr + p.Memsz
			m.loads = append(m.loads, p)
		}
	}
	return m, nil
}

// From returns the file's bytes of the memory from addr to the end of its segment, none if there
// are none. Of a file that is read by parts it is 2 KiB at least, if there are so many; see Err.
func (m *Memory) From(addr uint64) []byte { return m.bytes(m.at(addr), addr) }

// Code is From for an address in an executable segment, and none for others.
func (m *Memory) Code(addr uint64) []byte {
	// Neighbours in a table are mostly neighbours in memory.
	if m.code != nil && addr-m.code.Vaddr < m.code.Memsz {
		return m.bytes(m.code, addr)
	}
	p := m.at(addr)
	if p == nil || p.Flags&elf.PF_X == 0 {
		return nil
	}
	m.code = p
	return m.bytes(p, addr)
}

// Err returns why From and Code gave less than there is: the first error of reading the file, nil
// if there was none.
func (m *Memory) Err() error { return m.err }

// bytes returns the file's bytes of the memory from addr to the end of the segment p, none if there
// are none.
func (m *Memory) bytes(p *Segment, addr uint64) []byte {
	if p == nil || addr-p.Vaddr >= p.Filesz {
		return nil
	}
	off, end := p.Offset+(addr-p.Vaddr), p.Offset+p.Filesz
	if m.f.src == nil {
		return m.f.Image[off:end]
	}
	if have := m.start + uint64(len(m.near)); off < m.start || off > have ||
		have-off < min(enough, end-off) {
		m.read(off)
	}
	have := min(m.start+uint64(len(m.near)), end)
	if off < m.start || off >= have {
		return nil
	}
	return m.near[off-m.start : have-m.start]
}

// read reads the stretch of the file at off. It is a short one if stretches overlap so much that
// they are of no use: hostile files have many segments of the same bytes.
func (m *Memory) read(off uint64) {
	if m.near == nil {
		m.near = make([]byte, min(stretch, m.f.size))
	}
	n := min(stretch, m.f.size-off)
	if m.spent += n; m.spent > 2*m.f.size {
		n = min(enough, n)
	}
	m.start, m.near = off, m.near[:n]
	if err := m.f.readAt(m.near, off, "code"); err != nil {
		m.near = m.near[:0]
		m.err = cmp.Or(m.err, err)
	}
}
