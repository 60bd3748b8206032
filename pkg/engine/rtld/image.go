package rtld

import (
	"debug/elf"
	"errors"
	"os"
)

var pageSize = uint64(os.Getpagesize())

func pageDown(a uint64) uint64 { return a &^ (pageSize - 1) }
func pageUp(a uint64) uint64   { return pageDown(a + pageSize - 1) }

// headSize is how much of an image is read at once: in most, all that is asked for is in it.
const headSize = 4096

// maxAddress bounds the addresses in an image, so that sums of three of them do not wrap.
const maxAddress = 1 << 60

// span is a part of an image: addresses as linked, before the bias is added.
type span struct{ addr, offset, filesz, memsz uint64 }

// image is what the ELF header and the program headers in memory say. They are claims; what is
// mapped decides.
type image struct {
	class   elf.Class
	machine elf.Machine
	kind    elf.Type
	bias    uint64 // to be added to the addresses
	phdrs   uint64 // where the program headers are
	loads   []span // PT_LOAD
	notes   []span // PT_NOTE
	dynamic span   // PT_DYNAMIC; zero if there is none
	ehFrame span   // PT_GNU_EH_FRAME; zero if there is none

	head []byte // the first bytes in memory
	at   uint64 // where they are
}

// layout has the places of the fields in a class of ELF files.
type layout struct {
	header, phentsize                int // sizes
	phoff, phentOff, phnum           int // in the ELF header
	pOffset, pVaddr, pFilesz, pMemsz int // in a program header
	word                             int // size of an address
}

var layouts = map[elf.Class]layout{
	elf.ELFCLASS64: {header: 64, phentsize: 56, phoff: 32, phentOff: 54, phnum: 56, pOffset: 8,
		pVaddr: 16, pFilesz: 32, pMemsz: 40, word: 8},
	elf.ELFCLASS32: {header: 52, phentsize: 32, phoff: 28, phentOff: 42, phnum: 44, pOffset: 4,
		pVaddr: 8, pFilesz: 16, pMemsz: 20, word: 4},
}

// get reads a number of an address's size.
func (l layout) get(b []byte) uint64 {
	if l.word == 4 {
		return uint64(le.Uint32(b))
	}
	return le.Uint64(b)
}

// read reads the image whose first mapping is first, into room that is used again and again.
// errNotELF means that the file is something else. After an error the image says nothing.
func (im *image) read(r Reader, first *Mapping, head []byte) error {
	head = head[:min(uint64(len(head)), first.End-first.Start)]
	n, err := r.ReadAt(head, first.Start)
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return err
	}
	switch head = head[:n]; {
	case n < elf.EI_NIDENT+4 && err != nil:
		return err
	case n < elf.EI_NIDENT+4, string(head[:4]) != elf.ELFMAG:
		return errNotELF
	}
	*im = image{class: elf.Class(head[4]), head: head, at: first.Start, loads: im.loads[:0],
		notes: im.notes[:0]}
	l, ok := layouts[im.class]
	if !ok || elf.Data(head[5]) != elf.ELFDATA2LSB || n < l.header {
		return malformed("ELF header")
	}
	im.kind, im.machine = elf.Type(le.Uint16(head[16:])), elf.Machine(le.Uint16(head[18:]))
	if im.kind != elf.ET_DYN && im.kind != elf.ET_EXEC {
		return malformed("ELF type %d is not loaded", uint16(im.kind))
	}
	table, err := im.table(r, first, l)
	if err != nil {
		return err
	}
	for ; len(table) >= l.phentsize; table = table[l.phentsize:] {
		if err := im.segment(table, l); err != nil {
			return err
		}
	}
	return im.locate(first)
}

var errNotELF = errors.New("not ELF")

// IsDynamic reports whether the program whose program headers are at an address, on its first page,
// has a dynamic section. It has none, either, if it is no ELF file or malformed.
func IsDynamic(r Reader, phdr uint64) (bool, error) {
	var im image
	first := Mapping{Start: pageDown(phdr), End: pageDown(phdr) + pageSize}
	err := im.read(r, &first, make([]byte, headSize))
	if errors.Is(err, errNotELF) || err != nil && Local(err) {
		return false, nil
	}
	return err == nil && im.dynamic != (span{}), err
}

// table returns the program headers: of the head, or read from the same mapping.
func (im *image) table(r Reader, first *Mapping, l layout) ([]byte, error) {
	off, count := l.get(im.head[l.phoff:]), int(le.Uint16(im.head[l.phnum:]))
	if int(le.Uint16(im.head[l.phentOff:])) != l.phentsize || count == 0 || count > maxPhdrs {
		return nil, malformed("%d program headers", count)
	}
	size := uint64(count * l.phentsize)
	if off > maxAddress || off+size > first.End-first.Start {
		return nil, malformed("program headers outside of the first mapping")
	}
	im.phdrs = first.Start + off
	if off+size <= uint64(len(im.head)) {
		return im.head[off : off+size], nil
	}
	table := make([]byte, size)
	return table, readFull(r, table, im.phdrs)
}

// segment takes one program header in.
func (im *image) segment(b []byte, l layout) error {
	kind := elf.ProgType(le.Uint32(b))
	switch kind {
	case elf.PT_LOAD, elf.PT_NOTE, elf.PT_DYNAMIC, elf.PT_GNU_EH_FRAME:
	default:
		return nil
	}
	s := span{addr: l.get(b[l.pVaddr:]), offset: l.get(b[l.pOffset:]), filesz: l.get(b[l.pFilesz:]),
		memsz: l.get(b[l.pMemsz:])}
	if s.addr > maxAddress || s.offset > maxAddress || s.filesz > maxAddress ||
		s.memsz > maxAddress {
		return malformed("program header with an address or size of 2^60 and more")
	}
	switch kind {
	case elf.PT_LOAD:
		im.loads = append(im.loads, s)
	case elf.PT_NOTE:
		im.notes = append(im.notes, s)
	case elf.PT_DYNAMIC:
		im.dynamic = s
	case elf.PT_GNU_EH_FRAME:
		im.ehFrame = s
	}
	return nil
}

// locate computes the bias from the segment that holds the ELF header.
func (im *image) locate(first *Mapping) error {
	for _, s := range im.loads {
		if pageDown(s.offset) == 0 {
			im.bias = first.Start - pageDown(s.addr)
			if im.kind == elf.ET_EXEC && im.bias != 0 {
				return malformed("program that is not where it was linked to")
			}
			return nil
		}
	}
	return malformed("no segment for the ELF header")
}

// part returns the segment that a mapping of the image's file, or of memory without a file, is of
// the image: what is after the file's part of a segment (.bss), or code that the program has moved
// into such memory, as some do to have huge pages. The kernel makes one mapping of .bss and of
// other memory that happens to lie after it: only the image's part counts. It also makes one of
// segments that follow each other in memory and in the file, with the same permissions.
func (im *image) part(m *Mapping) (Segment, bool) {
	for i, s := range im.loads {
		from := im.bias + s.addr
		if m.File == (FileID{}) {
			end := pageUp(from + s.memsz)
			if m.Start >= pageDown(from+s.filesz) && m.Start < min(m.End, end) {
				return Segment{Start: m.Start, End: min(m.End, end), Perm: m.Perm}, true
			}
			if m.Perm&PermExec != 0 && m.Start >= pageDown(from) && m.End <= pageUp(from+s.filesz) {
				return Segment{Start: m.Start, End: m.End, Perm: m.Perm}, true
			}
			continue
		}
		if m.Start-m.Offset == from-s.offset && m.Start >= pageDown(from) &&
			m.Start < pageUp(from+s.filesz) && m.End <= im.run(i) {
			return segment(m), true
		}
	}
	return Segment{}, false
}

// run returns the address after the bytes of the file that are mapped from the i-th segment on
// without a gap.
func (im *image) run(i int) uint64 {
	s := im.loads[i]
	end := pageUp(im.bias + s.addr + s.filesz)
	for _, next := range im.loads[i+1:] {
		if next.addr-next.offset != s.addr-s.offset || pageDown(im.bias+next.addr) > end {
			break
		}
		end = max(end, pageUp(im.bias+next.addr+next.filesz))
	}
	return end
}

// end returns the address after the image's last segment.
func (im *image) end() uint64 {
	var end uint64
	for _, s := range im.loads {
		end = max(end, pageUp(im.bias+s.addr+max(s.memsz, s.filesz)))
	}
	return end
}

// bytes returns memory of the image, from the head if it is there.
func (im *image) bytes(r Reader, addr, size uint64) ([]byte, error) {
	if off := addr - im.at; addr >= im.at && off+size <= uint64(len(im.head)) && off <= off+size {
		return im.head[off : off+size], nil
	}
	b := make([]byte, size)
	return b, readFull(r, b, addr)
}
