// Package forged makes libraries for tests that are right in all but the places where a hostile
// process would lie.
package forged

import (
	"debug/elf"
	"encoding/binary"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Base is where tests put a forged library.
const Base = 0x7f00_0000_0000

// Places in a forged library.
const (
	Size    = 0x2000
	Phdrs   = 64
	Note    = 0x400
	Dynamic = 0x600
	Symtab  = 0x800
	Strtab  = 0xa00
	GNU     = 0xc00
	SysV    = 0xd00
	Versym  = 0xe00
	Verdef  = 0xe40
	Text    = 0x1000
)

// Strings are the names of the symbols in a forged library, and its strings.
const Strings = "\x00liar.so\x00trigger\x00state\x00V1\x00"

// Change writes a number into a forged library: its offset, its size in bytes, and the number.
type Change [3]uint64

// Library makes a library with two symbols, "trigger" and "state", and applies the changes to it.
// It is right without any. It is one segment, linked to 0, so that mapping the file as a whole
// loads it.
func Library(changes ...Change) []byte {
	b := make([]byte, Size)
	copy(b, "\x7fELF\x02\x01\x01")
	put := func(off, size int, value uint64) {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], value)
		copy(b[off:off+size], word[:])
	}
	put(16, 2, uint64(elf.ET_DYN))
	put(18, 2, uint64(elf.EM_X86_64))
	put(32, 8, Phdrs)
	put(54, 2, 56)
	put(56, 2, 3)
	for i, p := range []struct {
		kind       elf.ProgType
		addr, size uint64
	}{{elf.PT_LOAD, 0, Size}, {elf.PT_NOTE, Note, 36}, {elf.PT_DYNAMIC, Dynamic, 0x100}} {
		at := Phdrs + 56*i
		put(at, 4, uint64(p.kind))
		put(at+8, 8, p.addr)
		put(at+16, 8, p.addr)
		put(at+32, 8, p.size)
		put(at+40, 8, p.size)
	}
	copy(b[Note:], "\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00liarliarliarliarliar")
	copy(b[Strtab:], Strings)
	for i, e := range []struct {
		tag   elf.DynTag
		value uint64
	}{{elf.DT_SONAME, 1}, {elf.DT_STRTAB, Strtab}, {elf.DT_STRSZ, uint64(len(Strings))},
		{elf.DT_SYMTAB, Symtab}, {elf.DT_GNU_HASH, GNU}, {elf.DT_HASH, SysV},
		{elf.DT_VERSYM, Versym}, {elf.DT_VERDEF, Verdef}, {elf.DT_VERDEFNUM, 1}} {
		put(Dynamic+16*i, 8, uint64(e.tag))
		put(Dynamic+16*i+8, 8, e.value)
	}
	for i, name := range []uint64{9, 17} {
		at := Symtab + 24*(i+1)
		put(at, 4, name)
		put(at+4, 1, uint64(elf.STB_GLOBAL)<<4|uint64(elf.STT_FUNC))
		put(at+6, 2, 1)
		put(at+8, 8, Text+16*uint64(i))
		put(at+16, 8, 16)
	}
	for i, w := range []uint64{1, 1, 1, 0, ^uint64(0) & 0xffffffff, 0xffffffff, 1,
		hash("trigger") &^ 1, hash("state") | 1} {
		put(GNU+4*i, 4, w)
	}
	for i, w := range []uint64{1, 3, 1, 0, 2, 0} { // one bucket; row 1, then row 2
		put(SysV+4*i, 4, w)
	}
	for i, w := range []uint64{0, 1, 2} {
		put(Versym+2*i, 2, w)
	}
	put(Verdef, 2, 1)
	put(Verdef+4, 2, 2)
	put(Verdef+6, 2, 1)
	put(Verdef+12, 4, 20)
	put(Verdef+20, 4, 23)
	for _, c := range changes {
		put(int(c[0]), int(c[1]), c[2])
	}
	return b
}

func hash(name string) uint64 {
	h := uint32(5381)
	for _, c := range []byte(name) {
		h = h*33 + uint32(c)
	}
	return uint64(h)
}

// Lie is a forged library and what is to be seen of it.
type Lie struct {
	Changes []Change
	Listed  error // Library.Problem wraps it; nil: none
	// of opening the table, of Lookup("trigger"), or of Lookup("nobody"); nil: all is well
	Symbols error
}

// Dyn is a change of the value of a dynamic entry, by its place in Library.
func Dyn(i, value uint64) Change { return Change{Dynamic + 16*i + 8, 8, value} }

// NoGNU makes the look-up take DT_HASH.
func NoGNU() Change { return Dyn(4, 1<<62) }

// Lies are libraries that a hostile process may have.
var Lies = map[string]Lie{
	"none":                       {},
	"only DT_HASH":               {Changes: []Change{NoGNU()}},
	"65,535 program headers":     {Changes: []Change{{56, 2, 0xffff}}, Listed: procfs.ErrMalformed},
	"no program headers":         {Changes: []Change{{56, 2, 0}}, Listed: procfs.ErrMalformed},
	"program headers of 0 bytes": {Changes: []Change{{54, 2, 0}}, Listed: procfs.ErrMalformed},
	"program headers elsewhere": {Changes: []Change{{32, 8, 1 << 63}},
		Listed: procfs.ErrMalformed},
	"program headers at the end": {Changes: []Change{{32, 8, Size - 56}},
		Listed: procfs.ErrMalformed},
	"segment of 2^63 bytes": {Changes: []Change{{Phdrs + 40, 8, 1 << 63}},
		Listed: procfs.ErrMalformed},
	"segment at 2^63": {Changes: []Change{{Phdrs + 16, 8, 1 << 63}},
		Listed: procfs.ErrMalformed},
	"no segment at offset 0": {Changes: []Change{{Phdrs + 8, 8, 1 << 32}},
		Listed: procfs.ErrMalformed},
	"big-endian":               {Changes: []Change{{5, 1, 2}}, Listed: procfs.ErrMalformed},
	"class 3":                  {Changes: []Change{{4, 1, 3}}, Listed: procfs.ErrMalformed},
	"core file":                {Changes: []Change{{16, 2, 4}}, Listed: procfs.ErrMalformed},
	"program at another place": {Changes: []Change{{16, 2, 2}}, Listed: procfs.ErrMalformed},
	"notes of 2^40 bytes": {Changes: []Change{{Phdrs + 56 + 32, 8, 1 << 40}},
		Listed: procfs.ErrLimit},
	"notes outside": {Changes: []Change{{Phdrs + 56 + 16, 8, Size}},
		Listed: procfs.ErrMalformed},
	"note name of 4 GiB": {Changes: []Change{{Note, 4, 0xffffffff}},
		Listed: procfs.ErrMalformed},
	"build-id of 4 GiB": {Changes: []Change{{Note + 4, 4, 0xffffffff}},
		Listed: procfs.ErrMalformed},
	"build-id of 0 bytes": {Changes: []Change{{Note + 4, 4, 0}}, Listed: procfs.ErrMalformed},
	"dynamic section outside": {Changes: []Change{{Phdrs + 112 + 16, 8, Size - 8}},
		Listed: procfs.ErrMalformed, Symbols: procfs.ErrMalformed},
	"SONAME outside": {Changes: []Change{Dyn(0, 1<<40)}, Listed: procfs.ErrMalformed},
	"string table outside": {Changes: []Change{Dyn(1, 1<<40)}, Listed: procfs.ErrMalformed,
		Symbols: procfs.ErrMalformed},
	"strings of 2^62 bytes": {Changes: []Change{Dyn(2, 1<<62)}, Listed: procfs.ErrMalformed,
		Symbols: procfs.ErrMalformed},
	"strings up to the end": {Changes: []Change{Dyn(1, Size-4), Dyn(2, 4),
		{Size - 4, 4, 0x41414141}}, Listed: procfs.ErrMalformed, Symbols: procfs.ErrMalformed},
	"symbol table outside":    {Changes: []Change{Dyn(3, 1<<40)}, Symbols: procfs.ErrMalformed},
	"symbol table at the end": {Changes: []Change{Dyn(3, Size-32)}, Symbols: procfs.ErrMalformed},
	"no hash table": {Changes: []Change{NoGNU(), Dyn(5, 1<<62)},
		Symbols: procfs.ErrMalformed},
	"4 billion buckets": {Changes: []Change{{GNU, 4, 0xffffffff}},
		Symbols: procfs.ErrMalformed},
	"no buckets": {Changes: []Change{{GNU, 4, 0}}, Symbols: procfs.ErrMalformed},
	"4 billion Bloom words": {Changes: []Change{{GNU + 8, 4, 0xffffffff}},
		Symbols: procfs.ErrMalformed},
	"bucket before the first": {Changes: []Change{{GNU + 4, 4, 2}}, Symbols: procfs.ErrMalformed},
	"bucket without an end": {Changes: []Change{{GNU + 24, 4, 0x7000_0000}},
		Symbols: procfs.ErrMalformed},
	"DT_HASH of 4 billion": {Changes: []Change{NoGNU(), {SysV + 4, 4, 0xffffffff}},
		Symbols: procfs.ErrMalformed},
	"DT_HASH in a circle": {Changes: []Change{NoGNU(), {SysV + 8, 4, 2}, {SysV + 20, 4, 2}},
		Symbols: procfs.ErrMalformed},
	"DT_HASH outside": {Changes: []Change{NoGNU(), {SysV + 8, 4, 77}},
		Symbols: procfs.ErrMalformed},
	"symbol outside": {Changes: []Change{{Symtab + 24 + 8, 8, 1 << 40}},
		Symbols: procfs.ErrMalformed},
	"symbol of 2^63 bytes": {Changes: []Change{{Symtab + 24 + 16, 8, 1 << 63}},
		Symbols: procfs.ErrMalformed},
	"versions outside": {Changes: []Change{Dyn(6, Size-2)}, Symbols: procfs.ErrMalformed},
	"2^60 versions":    {Changes: []Change{Dyn(8, 1<<60)}, Symbols: procfs.ErrLimit},
	"version names outside": {Changes: []Change{{Verdef + 12, 4, 0xffffffff}},
		Symbols: procfs.ErrMalformed},
}

// Memory is memory that only a test has: what stands at which address.
type Memory map[uint64][]byte

// ReadAt reads len(b) bytes at an address.
func (f Memory) ReadAt(b []byte, addr uint64) (int, error) {
	for start, data := range f {
		if addr >= start && addr-start < uint64(len(data)) {
			n := copy(b, data[addr-start:])
			if n < len(b) {
				return n, unreadable(addr + uint64(n))
			}
			return n, nil
		}
	}
	return 0, unreadable(addr)
}

func unreadable(addr uint64) error { return fmt.Errorf("%w at %#x", procfs.ErrUnreadable, addr) }
