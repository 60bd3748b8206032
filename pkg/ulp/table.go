package ulp

import (
	"cmp"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/elfx"
)

// table is a symbol table in the form in which a library keeps it: names are not cut out of the strings before somebody
// asks for them, so that reading a library costs a few allocations and not one per symbol.
type table struct {
	rows     []row // those with a name, in the order of Library.Symbols
	strs     string
	versions []elfx.Version // sorted by index; their strings are in strs
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
	i, ok := slices.BinarySearchFunc(t.versions, r.version, func(v elfx.Version, index uint16) int { return cmp.Compare(v.Index, index) })
	if !ok {
		return nil
	}
	return &t.versions[i]
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
			for j := range t.rows {
				if !yield(t, &t.rows[j]) {
					return
				}
			}
		}
	}
}

func (s *symbols) len() int {
	n := 0
	for i := range s.tables {
		n += len(s.tables[i].rows)
	}
	return n
}

// at returns the row by its number over all tables.
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
		for j := len(t.rows) - 1; j >= 0; j-- {
			n--
			head := s.head(t.name(&t.rows[j]))
			s.next[n], *head = *head, int32(n)+1
		}
	}
}

func (s *symbols) head(name string) *int32 {
	return &s.heads[maphash.String(s.seed, name)&uint64(len(s.heads)-1)]
}

// searches is how many names are looked for row by row before an index is made: a live patch asks for a few, and making
// the index costs as much as some twenty searches.
const searches = 8

// named iterates over the rows of that name.
func (s *symbols) named(name string) iter.Seq2[*table, *row] {
	return func(yield func(*table, *row) bool) {
		if s.asked.Add(1) <= searches {
			for t, r := range s.each() {
				if int(r.length) == len(name) && t.name(r) == name && !yield(t, r) {
					return
				}
			}
			return
		}
		s.once.Do(s.index)
		for n := *s.head(name); n != 0; n = s.next[n-1] {
			if t, r := s.at(int(n) - 1); t.name(r) == name && !yield(t, r) {
				return
			}
		}
	}
}
