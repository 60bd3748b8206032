package symtab

import (
	"debug/elf"
	"hash/maphash"
	"iter"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// table is a symbol table in the form in which a library keeps it: names are not cut out of the
// strings before somebody asks for them, so that reading a library costs a few allocations and not
// one per symbol.
type table struct {
	file     *fileTable // where the rows are if they are from an ELF file
	rows     []row      // the rows if they are from a catalogue, in the order of Library.Symbols
	strs     string
	versions []elfx.Version // sorted by index; their strings are in strs
}

// len returns how many rows with a name there are.
func (t *table) len() int {
	if t.file != nil {
		return t.file.rows.Named
	}
	return len(t.rows)
}

// places returns how many places there are for rows: see each.
func (t *table) places() int {
	if t.file != nil {
		return t.file.rows.Len()
	}
	return len(t.rows)
}

// each calls yield for all rows in the order of Library.Symbols, each with its place: ascending
// numbers, perhaps with gaps. It returns false if yield did. The row is only valid until then.
func (t *table) each(yield func(place int, r *row) bool) bool {
	if t.file != nil {
		return t.file.each(t, yield)
	}
	for i := range t.rows {
		if !yield(i, &t.rows[i]) {
			return false
		}
	}
	return true
}

// at returns the row at a place where each had one.
func (t *table) at(place int) *row {
	if t.file != nil {
		return t.file.at(t, place)
	}
	return &t.rows[place]
}

// named calls yield for the rows of that name, without making the others. It returns false if yield
// did.
func (t *table) named(name string, yield func(*table, *row) bool) bool {
	if t.file != nil {
		return t.file.named(t, name, yield)
	}
	for i := range t.rows {
		if r := &t.rows[i]; int(r.length) == len(name) && t.name(r) == name && !yield(t, r) {
			return false
		}
	}
	return true
}

// addIndirect adds the addresses of the indirect functions that the table defines.
func (t *table) addIndirect(to map[uint64]bool) {
	if t.file != nil {
		t.file.addIndirect(to)
		return
	}
	for i := range t.rows {
		if r := &t.rows[i]; elf.ST_TYPE(r.info) == elf.STT_GNU_IFUNC && r.flags&flagUndefined == 0 {
			to[r.value] = true
		}
	}
}

// row is a symbol in 32 bytes.
type row struct {
	value, size  uint64
	name, length uint32 // of the name in strs
	version      uint16 // index of table.versions' entry; 0 if it has none
	info, other  byte
	flags        flag
}

// flag are the yes-or-no facts of a row.
type flag byte

const (
	flagDefault flag = 1 << iota
	flagDynamic
	flagUndefined
	flagPatchable
	flagWritable
	flagLanding
)

func (t *table) name(r *row) string { return t.strs[r.name : r.name+r.length] }

// cut returns the string at off up to its NUL.
func (t *table) cut(off uint32) string {
	s, _, _ := strings.Cut(t.strs[off:], "\x00")
	return s
}

// versionOf returns the row's version, nil if it has none.
func (t *table) versionOf(r *row) *elfx.Version {
	if r.version == 0 {
		return nil
	}
	return elfx.FindVersion(t.versions, r.version)
}

// symbol returns the row as callers see it.
func (t *table) symbol(r *row) Symbol {
	s := Symbol{
		Name:      t.name(r),
		Value:     r.value,
		Size:      r.size,
		Info:      r.info,
		Other:     r.other,
		Default:   r.flags&flagDefault != 0,
		Dynamic:   r.flags&flagDynamic != 0,
		Undefined: r.flags&flagUndefined != 0,
		Patchable: r.flags&flagPatchable != 0,
		Writable:  r.flags&flagWritable != 0,
		Landing:   r.flags&flagLanding != 0,
	}
	if v := t.versionOf(r); v != nil {
		s.Version = t.cut(v.NameOff)
	}
	return s
}

// symbols are the tables of a library with an index by name, which is made when enough names were
// looked for.
type symbols struct {
	tables []table
	asked  atomic.Int32 // names that were looked for
	once   sync.Once
	seed   maphash.Seed
	heads  []int32 // by the hash of the name: the place of the first row + 1
	next   []int32 // by place: that of the next row with that hash + 1
}

// each iterates over all rows of all tables. A row is only valid until the next one.
func (s *symbols) each() iter.Seq2[*table, *row] {
	return func(yield func(*table, *row) bool) {
		for i := range s.tables {
			t := &s.tables[i]
			if !t.each(func(_ int, r *row) bool { return yield(t, r) }) {
				return
			}
		}
	}
}

func (s *symbols) len() int {
	n := 0
	for i := range s.tables {
		n += s.tables[i].len()
	}
	return n
}

// at returns the row by its place over all tables.
func (s *symbols) at(place int) (*table, *row) {
	for i := range s.tables {
		t := &s.tables[i]
		if n := t.places(); place >= n {
			place -= n
			continue
		}
		return t, t.at(place)
	}
	return nil, nil
}

// index builds the chains such that each is in the order of the rows.
func (s *symbols) index() {
	n, places := s.len(), 0
	for i := range s.tables {
		places += s.tables[i].places()
	}
	s.seed = maphash.MakeSeed()
	s.heads = make([]int32, 1<<bits.Len(uint(n)))
	s.next = make([]int32, places)
	tails := make([]int32, len(s.heads)) // the last row of each chain + 1
	first := 0
	for i := range s.tables {
		t := &s.tables[i]
		t.each(func(place int, r *row) bool {
			h, n := s.hash(t.name(r)), int32(first+place)+1
			if tails[h] == 0 {
				s.heads[h] = n
			} else {
				s.next[tails[h]-1] = n
			}
			tails[h] = n
			return true
		})
		first += t.places()
	}
}

func (s *symbols) hash(name string) uint64 {
	return maphash.String(s.seed, name) & uint64(len(s.heads)-1)
}

// searches is how many names are looked for row by row before an index is made: a live patch asks
// for a few, and making the index costs as much as some twenty searches.
const searches = 16

// named iterates over the rows of that name.
func (s *symbols) named(name string) iter.Seq2[*table, *row] {
	return func(yield func(*table, *row) bool) {
		switch {
		case name == "" || strings.IndexByte(name, 0) >= 0: // no row has such a name
			return
		case s.asked.Add(1) > searches:
			s.indexed(name, yield)
			return
		}
		for i := range s.tables {
			if !s.tables[i].named(name, yield) {
				return
			}
		}
	}
}

// indexed calls yield for the rows of that name, by the index.
func (s *symbols) indexed(name string, yield func(*table, *row) bool) {
	s.once.Do(s.index)
	for n := s.heads[s.hash(name)]; n != 0; n = s.next[n-1] {
		if t, r := s.at(int(n) - 1); t.name(r) == name && !yield(t, r) {
			return
		}
	}
}

// indirect returns the addresses of the indirect functions that the library defines.
func (s *symbols) indirect() map[uint64]bool {
	at := make(map[uint64]bool)
	for i := range s.tables {
		s.tables[i].addIndirect(at)
	}
	return at
}
