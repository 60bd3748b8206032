package symtab

import (
	"debug/elf"
	"strings"
	"sync"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// fileTable is a symbol table as it is in an ELF file. Reading a library leaves it at that, since
// packing a live patch asks for a few symbols out of thousands; what is known of a symbol beyond
// its row is found out when it is asked for.
type fileTable struct {
	rows     *elfx.SymbolTable // without its strings
	versions *elfx.Versions    // nil for a .symtab
	facts    *facts
	flags    flag // of each row
}

// facts are what tells about the symbols of a library by their addresses.
type facts struct {
	layout  elfx.Layout
	detours detours
	indexed func() *detours // the same with an index, for looking at all symbols
}

func newFacts(layout elfx.Layout, d detours) *facts {
	return &facts{layout, d, sync.OnceValue(func() *detours {
		d.makeIndex()
		return &d
	})}
}

// row reads row i of the file into r, and returns whether it has a name.
func (f *fileTable) row(t *table, i int, detours *detours, r *row) bool {
	s := f.rows.Row(i)
	length := strings.IndexByte(t.strs[s.NameOff:], 0)
	if length <= 0 {
		return false
	}
	*r = row{
		value: s.Value, size: s.Size, info: s.Info, other: s.Other,
		name: s.NameOff, length: uint32(length), flags: f.flags | f.facts.flags(s, detours),
	}
	if f.versions != nil {
		f.addVersion(t, r, i)
	}
	return true
}

// flags returns what is known of a symbol by its address.
func (f *facts) flags(s elfx.Symbol, detours *detours) flag {
	switch s.Shndx {
	case elf.SHN_UNDEF:
		return flagUndefined
	case elf.SHN_ABS:
		return 0
	}
	switch elf.ST_TYPE(s.Info) {
	case elf.STT_TLS: // the value is no address; each thread's copy is writable
		return flagWritable
	case elf.STT_FUNC:
		return detours.at(s.Value)
	}
	if f.layout.Writable(s.Value) {
		return flagWritable
	}
	return 0
}

// addVersion notes the version of .dynsym's row i. That of an undefined symbol is never the
// default: it is exactly what is needed. A version without a name is none.
func (f *fileTable) addVersion(t *table, r *row, i int) {
	v, isDefault, ok := f.versions.Of(i)
	if !ok || t.strs[v.NameOff] == 0 {
		return
	}
	r.version = v.Index
	if isDefault && r.flags&flagUndefined == 0 {
		r.flags |= flagDefault
	}
}

// each calls yield for the rows that have a name, the last one first, with their places in that
// order. It returns false if yield did. The row is only valid until then.
func (f *fileTable) each(t *table, yield func(place int, r *row) bool) bool {
	detours := f.facts.indexed()
	var r row
	for i := f.rows.Len() - 1; i > 0; i-- {
		if f.row(t, i, detours, &r) && !yield(f.rows.Len()-1-i, &r) {
			return false
		}
	}
	return true
}

// at returns the row at a place where each had one.
func (f *fileTable) at(t *table, place int) *row {
	var r row
	f.row(t, f.rows.Len()-1-place, &f.facts.detours, &r)
	return &r
}

// named calls yield for the rows of that name, which is not empty, the last one first, and looks at
// no others. It returns false if yield did.
func (f *fileTable) named(t *table, name string, yield func(*table, *row) bool) bool {
	last := name[len(name)-1]
	for i := f.rows.Len() - 1; i > 0; i-- {
		off := int(f.rows.NameOff(i))
		end := off + len(name)
		// Names of one library begin alike, so their ends tell them apart sooner.
		if end >= len(t.strs) || t.strs[end] != 0 || t.strs[end-1] != last ||
			t.strs[off:end] != name {
			continue
		}
		var r row
		if f.row(t, i, &f.facts.detours, &r) && !yield(t, &r) {
			return false
		}
	}
	return true
}

// addIndirect adds the addresses of the indirect functions that the table defines.
func (f *fileTable) addIndirect(to map[uint64]bool) {
	for i := f.rows.Len() - 1; i > 0; i-- {
		if f.rows.IsIFUNC(i) {
			if s := f.rows.Row(i); s.Shndx != elf.SHN_UNDEF {
				to[s.Value] = true
			}
		}
	}
}
