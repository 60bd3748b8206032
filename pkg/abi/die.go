package abi

import (
	"debug/dwarf"
	"slices"
)

// ref is the place of an entry: its offset in .debug_info, and whether that is the one of the
// supplementary file, which dwz makes for several files.
type ref int64

const (
	noRef ref = -1
	inAlt ref = 1 << 62
)

// typeDIE is an entry for a type.
type typeDIE struct {
	at       ref
	tag      dwarf.Tag
	name     string
	size     int64 // -1 if there is none
	target   ref
	first, n int32 // its parts
	file     int32
	line     int32
	unit     int32
	declared bool // only: the definition is elsewhere
	variadic bool
}

// part is a member, enumerator, parameter, or array dimension.
type part struct {
	name      string
	target    ref
	value     int64 // offset, value, or number of elements
	bitOffset int64
	bitSize   int64
	line      int32
}

// functionDIE is an entry for a function: the source's, or one of its copies.
type functionDIE struct {
	at       ref
	origin   ref // of a copy, or of a definition that was declared elsewhere
	name     string
	linkage  string
	target   ref
	first, n int32 // its parameters
	file     int32
	line     int32
	unit     int32
	external bool
	declared bool
	variadic bool
	places   []uint64 // starts of its code
}

// variableDIE is an entry for a variable with a static address, or for the declaration of one.
type variableDIE struct {
	at       ref
	origin   ref
	name     string
	target   ref
	file     int32
	line     int32
	unit     int32
	function int32 // that contains it, or -1
	external bool
	declared bool
	placed   bool
	tls      bool
	address  uint64
}

// use is a copy or call of the function at origin, within the function with an index.
type use struct {
	origin ref
	into   int32
}

// unitDIE is the entry for a unit.
type unitDIE struct {
	entry *dwarf.Entry // for the file names of its line table
	alt   bool
	files []string
	read  bool
	index int // into Facts.Units, or -1 of a partial unit
}

// tables are the entries of all files, each kind in the order of their places.
type tables struct {
	types     []typeDIE
	parts     []part
	functions []functionDIE
	variables []variableDIE
	inlined   []use
	calls     []use
	used      []ref // types of parameters and local variables
	units     []unitDIE
	near      [2][]int32 // by file: the first type at or behind every stride of .debug_info
}

// stride is the number of bytes of .debug_info for each element of tables.near.
const stride = 64

// indexTypes prepares typeAt, which is called for every reference. It adds the types of one file,
// which begin at index first and have size bytes of .debug_info.
func (t *tables) indexTypes(file ref, first, size int) {
	near := make([]int32, size/stride+1)
	i := first
	for n := range near {
		for i < len(t.types) && int64(t.types[i].at&^inAlt) < int64(n)*stride {
			i++
		}
		near[n] = int32(i)
	}
	t.near[file>>62] = near
}

// typeAt returns the index of the type at a place, -1 if there is none.
func (t *tables) typeAt(at ref) int {
	if at < 0 {
		return -1
	}
	near, n := t.near[at>>62], int64(at&^inAlt)/stride
	if n >= int64(len(near)) {
		return -1
	}
	for i := int(near[n]); i < len(t.types) && t.types[i].at <= at; i++ {
		if t.types[i].at == at {
			return i
		}
	}
	return -1
}

func (t *tables) functionAt(at ref) int {
	i, ok := slices.BinarySearchFunc(t.functions, at, func(d functionDIE, at ref) int {
		return compareRefs(d.at, at)
	})
	if !ok {
		return -1
	}
	return i
}

func (t *tables) variableAt(at ref) int {
	i, ok := slices.BinarySearchFunc(t.variables, at, func(d variableDIE, at ref) int {
		return compareRefs(d.at, at)
	})
	if !ok {
		return -1
	}
	return i
}

func compareRefs(a, b ref) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// maxChain bounds how many entries refer to one another for one function or variable.
const maxChain = 16

// source returns the index of the entry for the source of the function with index i.
func (t *tables) source(i int) int {
	for range maxChain {
		origin := t.functions[i].origin
		if origin == noRef {
			return i
		}
		next := t.functionAt(origin)
		if next < 0 {
			return i
		}
		i = next
	}
	return i
}
