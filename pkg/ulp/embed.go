package ulp

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Section is a section to embed.
type Section struct {
	Name string // ".ulp"
	Data []byte
}

// EmbedSections returns image with the sections added at its end: SHT_PROGBITS without flags and of
// alignment 1, so that they are not loaded at run time. A section of the same name that is there
// already and was not loaded either gets the new bytes and keeps its place in the section table.
// All other sections, all segments and all bytes of them stay where they are; only the section
// names and the section table move to the end. image itself is not changed.
//
// Bytes at the end of image that nothing refers to any more are reused, so that embedding again
// does not let the file grow. Bytes that no structure accounts for are kept.
//
// strip keeps the sections, eu-strip removes them, as it does with those that objcopy adds.
//
// An error is a *[symtab.FormatError]: image is not as [ParseContainer] wants it, a section of that
// name is loaded at run time or is not plain data, a name is empty, has a NUL or appears twice, or
// the section table would become too large (this one wraps [symtab.ErrUnsupported]).
func EmbedSections(image []byte, sections ...Section) ([]byte, error) {
	f, err := elfx.Parse(image)
	if err == nil {
		err = f.CheckSegments()
	}
	if err != nil {
		return nil, symtab.AsFormatError(err)
	}
	if _, err := symtab.ArchOf(f.Machine); err != nil {
		return nil, &symtab.FormatError{Off: 18, What: "ELF header: machine", Err: err}
	}
	if f.Sections[f.Shstrndx].Flags&elf.SHF_ALLOC != 0 {
		return nil, &symtab.FormatError{Off: 62, What: "section names",
			Err: fmt.Errorf("%w: they are loaded at run time", symtab.ErrUnsupported)}
	}
	e := embedder{f: f, table: slices.Clone(f.Sections), names: f.Names(),
		data: make(map[int][]byte)}
	for _, s := range sections {
		if err := e.add(s); err != nil {
			return nil, err
		}
	}
	return e.write(), nil
}

// embedder collects what changes.
type embedder struct {
	f     *elfx.File
	table []elfx.Section // the new section table; the first ones are those of f
	// the new section names; they begin with the old ones, since others may refer to these
	names []byte
	data  map[int][]byte // what is embedded, by its index in table
}

// add notes a section.
func (e *embedder) add(s Section) error {
	if s.Name == "" || strings.ContainsRune(s.Name, 0) || len(s.Name) > elfx.MaxName {
		return e.refuse(0, s.Name, errors.New("not a name for a section"))
	}
	i := e.index(s.Name)
	if _, twice := e.data[i]; twice {
		return e.refuse(0, s.Name, errors.New("given twice"))
	}
	if i == len(e.table) {
		if len(e.table) >= int(elf.SHN_LORESERVE)-1 {
			return e.refuse(60, s.Name, fmt.Errorf("%w: the file has too many sections already",
				symtab.ErrUnsupported))
		}
		e.table = append(e.table, elfx.Section{NameOff: uint32(len(e.names))})
		e.names = append(append(slices.Clip(e.names), s.Name...), 0)
	} else if old := e.table[i]; old.Type != elf.SHT_PROGBITS || old.Flags&elf.SHF_ALLOC != 0 {
		off := int64(e.f.Shoff) + int64(i)*elfx.SectionSize
		return e.refuse(off, s.Name, errors.New("is loaded at run time or is not plain data; it "+
			"cannot be replaced"))
	}
	e.table[i] = elfx.Section{NameOff: e.table[i].NameOff, Type: elf.SHT_PROGBITS,
		Size: uint64(len(s.Data)), Align: 1}
	e.data[i] = s.Data
	return nil
}

func (e *embedder) refuse(off int64, name string, err error) error {
	return &symtab.FormatError{Off: off, What: fmt.Sprintf("section %q to embed", name), Err: err}
}

// index returns the place of the first section of that name in the new table, its length if there
// is none.
func (e *embedder) index(name string) int {
	want := append([]byte(name), 0)
	i := slices.IndexFunc(e.table, func(s elfx.Section) bool {
		return s.Type != elf.SHT_NULL && bytes.HasPrefix(e.names[s.NameOff:], want)
	})
	if i < 0 {
		return len(e.table)
	}
	return i
}

// tableAlign is the alignment of section tables in files of 64 bits.
const tableAlign = 8

// write returns the new image: what stays of the old one, the embedded bytes, the section names,
// the section table.
func (e *embedder) write() []byte {
	keep := e.keep()
	size := keep + len(e.names) + tableAlign + len(e.table)*elfx.SectionSize
	for _, data := range e.data {
		size += len(data)
	}
	out := append(make([]byte, 0, size), e.f.Image[:keep]...)
	for i := range e.table {
		if data, ok := e.data[i]; ok {
			e.table[i].Offset = uint64(len(out))
			out = append(out, data...)
		}
	}
	names := &e.table[e.f.Shstrndx]
	names.Offset, names.Size = uint64(len(out)), uint64(len(e.names))
	out = append(out, e.names...)
	for len(out)%tableAlign != 0 {
		out = append(out, 0)
	}
	binary.LittleEndian.PutUint64(out[40:], uint64(len(out))) // e_shoff
	binary.LittleEndian.PutUint16(out[60:], uint16(len(e.table)))
	for i := range e.table {
		out, _ = e.table[i].AppendBinary(out) // has no errors
	}
	return out
}

// extent is a range of bytes of the file.
type extent struct{ start, end uint64 }

// maxGap bounds the zeros between two structures that are taken for padding, in bytes.
const maxGap = 16

// keep returns how many bytes of the image stay. The end of the image goes if it consists of
// nothing but structures that are written anew, and the padding between them.
func (e *embedder) keep() int {
	live, dead := e.extents()
	slices.SortFunc(dead, func(a, b extent) int {
		return cmp.Or(cmp.Compare(b.end, a.end), cmp.Compare(b.start, a.start))
	})
	keep := uint64(len(e.f.Image))
	for _, d := range dead {
		if d.end < keep && !isPadding(e.f.Image[d.end:keep]) {
			break
		}
		keep = min(keep, d.start)
	}
	return int(max(keep, live))
}

// extents returns the end of everything that stays, and the structures that are written anew.
func (e *embedder) extents() (live uint64, dead []extent) {
	f := e.f
	live = elfx.HeaderSize
	if len(f.Segments) > 0 {
		live = max(live, f.SegmentTableEnd())
	}
	for _, p := range f.Segments {
		if p.Type != elf.PT_NULL {
			live = max(live, p.Offset+p.Filesz)
		}
	}
	dead = append(dead, extent{f.Shoff, f.Shoff + uint64(len(f.Sections))*elfx.SectionSize})
	for i, s := range f.Sections {
		_, replaced := e.data[i]
		switch {
		case !s.InFile():
		case replaced || i == f.Shstrndx:
			dead = append(dead, extent{s.Offset, s.Offset + s.Size})
		default:
			live = max(live, s.Offset+s.Size)
		}
	}
	return live, dead
}

func isPadding(b []byte) bool {
	return len(b) <= maxGap && len(bytes.Trim(b, "\x00")) == 0
}
