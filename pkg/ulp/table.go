package ulp

import (
	"debug/elf"
	"hash/maphash"
	"iter"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/elfx"
)

// table is a symbol table in the form in which a library keeps it: names are not cut out of the strings before somebody
// asks for them, so that reading a library costs a few allocations and not one per symbol.
type table struct {
	rows     []row // those with a name, in the order of Library.Symbols; see all
	strs     string
	versions []elfx.Version // sorted by index; their strings are in strs
	file     *fileTable     // where the rows come from when all are asked for; nil if they are there already
}

// all returns the rows.
func (t *table) all() []row {
	if t.file != nil {
		t.file.decoded.Do(func() { t.file.decode(t) })
	}
	return t.rows
}

// len returns how many rows there are.
func (t *table) len() int {
	if t.file != nil {
		return t.file.rows.Named
	}
	return len(t.rows)
}

// named calls yield for the rows of that name, without making the others. It returns false if yield did.
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
	}
	if v := t.versionOf(r); v != nil {
		s.Version = t.cut(v.NameOff)
	}
	return s
}

// symbols are the tables of a library with an index by name, which is made when enough names were looked for.
type symbols struct {
	tables []table
	asked  atomic.Int32 // names that were looked for
	once   sync.Once
	seed   maphash.Seed
	heads  []int32 // by the hash of the name: the first row + 1
	next   []int32 // by row: the next one with that hash + 1
}

// each iterates over all rows of all tables.
func (s *symbols) each() iter.Seq2[*table, *row] {
	return func(yield func(*table, *row) bool) {
		for i := range s.tables {
			t := &s.tables[i]
			rows := t.all()
			for j := range rows {
				if !yield(t, &rows[j]) {
					return
				}
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

// at returns the row by its number over all tables, once there is an index.
func (s *symbols) at(n int) (*table, *row) {
	for i := range s.tables {
		t := &s.tables[i]
		if n < len(t.rows) {
			return t, &t.rows[n]
		}
		n -= len(t.rows)
	}
	return nil, nil
}

// index builds the chains, the last row first, so that each chain is in the order of the rows.
func (s *symbols) index() {
	n := s.len()
	s.seed = maphash.MakeSeed()
	s.heads = make([]int32, 1<<bits.Len(uint(n)))
	s.next = make([]int32, n)
	for i := len(s.tables) - 1; i >= 0; i-- {
		t := &s.tables[i]
		rows := t.all()
		for j := len(rows) - 1; j >= 0; j-- {
			n--
			head := s.head(t.name(&rows[j]))
			s.next[n], *head = *head, int32(n)+1
		}
	}
}

func (s *symbols) head(name string) *int32 {
	return &s.heads[maphash.String(s.seed, name)&uint64(len(s.heads)-1)]
}

// searches is how many names are looked for row by row before an index is made: a live patch asks for a few, and making
// the index costs as much as some twenty searches.
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
	for n := *s.head(name); n != 0; n = s.next[n-1] {
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
