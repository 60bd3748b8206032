package elfx

import (
	"bytes"
	"debug/elf"
	"fmt"
)

// Symbol is a row of a symbol table.
type Symbol struct {
	NameOff uint32 // of its name in the table's strings
	Info    byte
	Other   byte
	Shndx   elf.SectionIndex
	Value   uint64
	Size    uint64
}

// SymbolTable is a .dynsym or .symtab.
type SymbolTable struct {
	off     uint64
	rows    []byte
	Strings []byte // the names, each ended by NUL; the last byte is NUL
	Named   int    // rows after the null symbol that have a name
	shared  bool   // the rows are part of an image in memory
}

// SymbolTable returns the first section of type t, SHT_DYNSYM or SHT_SYMTAB, nil if there is none.
// The name offsets of all rows are inside its Strings.
func (f *File) SymbolTable(t elf.SectionType) (*SymbolTable, error) {
	s := f.ofType(t)
	if s == nil {
		return nil, nil
	}
	rows, err := f.records(s, SymbolSize, "symbol table")
	if err != nil {
		return nil, err
	}
	strs, err := f.strings(int(s.Link), "names of the symbol table")
	if err != nil {
		return nil, err
	}
	if err := f.charge(s.Offset, uint64(len(strs)), "names of the symbol table"); err != nil {
		return nil, err
	}
	table := &SymbolTable{off: s.Offset, rows: rows, Strings: strs, shared: f.src == nil}
	for off := 0; off < len(rows); off += SymbolSize {
		name := le.Uint32(rows[off:])
		if uint64(name) >= uint64(len(strs)) {
			return nil, fail(s.Offset+uint64(off), fmt.Sprintf("name of symbol %d", off/SymbolSize),
				errBounds)
		}
		if strs[name] != 0 && off > 0 {
			table.Named++
		}
	}
	return table, nil
}

// Rows returns the rows without the names, such that they do not refer to an image in memory.
func (t *SymbolTable) Rows() *SymbolTable {
	rows := t.rows
	if t.shared {
		rows = bytes.Clone(rows)
	}
	return &SymbolTable{off: t.off, rows: rows, Named: t.Named}
}

// Len returns the number of rows, with the null symbol.
func (t *SymbolTable) Len() int { return len(t.rows) / SymbolSize }

// Off returns the offset of row i in the image.
func (t *SymbolTable) Off(i int) int64 { return int64(t.off) + int64(i)*SymbolSize }

// NameOff returns the offset of the name of row i.
func (t *SymbolTable) NameOff(i int) uint32 { return le.Uint32(t.rows[i*SymbolSize:]) }

// IsIFUNC tells whether row i is of an indirect function.
func (t *SymbolTable) IsIFUNC(i int) bool {
	return elf.ST_TYPE(t.rows[i*SymbolSize+4]) == elf.STT_GNU_IFUNC
}

// Row returns row i.
func (t *SymbolTable) Row(i int) Symbol {
	b := t.rows[i*SymbolSize : i*SymbolSize+SymbolSize]
	return Symbol{
		NameOff: le.Uint32(b),
		Info:    b[4],
		Other:   b[5],
		Shndx:   elf.SectionIndex(le.Uint16(b[6:])),
		Value:   le.Uint64(b[8:]),
		Size:    le.Uint64(b[16:]),
	}
}
