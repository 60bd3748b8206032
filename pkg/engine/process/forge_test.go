package process

import (
	"debug/elf"
)

// Places in a forged library.
const (
	forgeSize    = 0x2000
	forgePhdrs   = 64
	forgeNote    = 0x400
	forgeDynamic = 0x600
	forgeSymtab  = 0x800
	forgeStrtab  = 0xa00
	forgeGNU     = 0xc00
	forgeSysV    = 0xd00
	forgeVersym  = 0xe00
	forgeVerdef  = 0xe40
	forgeText    = 0x1000
)

// Names of the symbols in a forged library, and its strings.
const forgeStrings = "\x00liar.so\x00trigger\x00state\x00V1\x00"

// Change writes a number of Size bytes into a forged library.
type Change struct {
	Off   int
	Size  int
	Value uint64
}

// Forge makes a library with two symbols, "trigger" and "state", and applies the changes to it. It is right without any.
// It is one segment, linked to 0, so that mapping the file as a whole loads it.
func Forge(changes ...Change) []byte {
	b := make([]byte, forgeSize)
	copy(b, "\x7fELF\x02\x01\x01")
	put := func(off, size int, value uint64) {
		var word [8]byte
		le.PutUint64(word[:], value)
		copy(b[off:off+size], word[:])
	}
	put(16, 2, uint64(elf.ET_DYN))
	put(18, 2, uint64(elf.EM_X86_64))
	put(32, 8, forgePhdrs)
	put(54, 2, 56)
	put(56, 2, 3)
	for i, p := range []struct {
		kind       elf.ProgType
		addr, size uint64
	}{{elf.PT_LOAD, 0, forgeSize}, {elf.PT_NOTE, forgeNote, 36}, {elf.PT_DYNAMIC, forgeDynamic, 0x100}} {
		at := forgePhdrs + 56*i
		put(at, 4, uint64(p.kind))
		put(at+8, 8, p.addr)
		put(at+16, 8, p.addr)
		put(at+32, 8, p.size)
		put(at+40, 8, p.size)
	}
	copy(b[forgeNote:], "\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00liarliarliarliarliar")
	copy(b[forgeStrtab:], forgeStrings)
	for i, e := range []struct {
		tag   elf.DynTag
		value uint64
	}{{elf.DT_SONAME, 1}, {elf.DT_STRTAB, forgeStrtab}, {elf.DT_STRSZ, uint64(len(forgeStrings))}, {elf.DT_SYMTAB, forgeSymtab},
		{elf.DT_GNU_HASH, forgeGNU}, {elf.DT_HASH, forgeSysV}, {elf.DT_VERSYM, forgeVersym}, {elf.DT_VERDEF, forgeVerdef},
		{elf.DT_VERDEFNUM, 1}} {
		put(forgeDynamic+16*i, 8, uint64(e.tag))
		put(forgeDynamic+16*i+8, 8, e.value)
	}
	for i, name := range []uint64{9, 17} {
		at := forgeSymtab + 24*(i+1)
		put(at, 4, name)
		put(at+4, 1, uint64(elf.STB_GLOBAL)<<4|uint64(elf.STT_FUNC))
		put(at+6, 2, 1)
		put(at+8, 8, forgeText+16*uint64(i))
		put(at+16, 8, 16)
	}
	for i, w := range []uint64{1, 1, 1, 0, ^uint64(0) & 0xffffffff, 0xffffffff, 1, forgeHash("trigger") &^ 1, forgeHash("state") | 1} {
		put(forgeGNU+4*i, 4, w)
	}
	for i, w := range []uint64{1, 3, 1, 0, 2, 0} { // one bucket; row 1, then row 2
		put(forgeSysV+4*i, 4, w)
	}
	for i, w := range []uint64{0, 1, 2} {
		put(forgeVersym+2*i, 2, w)
	}
	put(forgeVerdef, 2, 1)
	put(forgeVerdef+4, 2, 2)
	put(forgeVerdef+6, 2, 1)
	put(forgeVerdef+12, 4, 20)
	put(forgeVerdef+20, 4, 23)
	for _, c := range changes {
		put(c.Off, c.Size, c.Value)
	}
	return b
}

func forgeHash(name string) uint64 {
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
	Symbols error // of opening the table, of Lookup("trigger"), or of Lookup("nobody"); nil: all is well
}

// dyn is a change of the value of a dynamic entry, by its place in Forge.
func dyn(i int, value uint64) Change { return Change{forgeDynamic + 16*i + 8, 8, value} }

// noGNU makes the look-up take DT_HASH.
func noGNU() Change { return dyn(4, 1<<62) }

// Lies are libraries that a hostile process may have.
var Lies = map[string]Lie{
	"none":                       {},
	"only DT_HASH":               {Changes: []Change{noGNU()}},
	"65,535 program headers":     {Changes: []Change{{56, 2, 0xffff}}, Listed: ErrMalformed},
	"no program headers":         {Changes: []Change{{56, 2, 0}}, Listed: ErrMalformed},
	"program headers of 0 bytes": {Changes: []Change{{54, 2, 0}}, Listed: ErrMalformed},
	"program headers elsewhere":  {Changes: []Change{{32, 8, 1 << 63}}, Listed: ErrMalformed},
	"program headers at the end": {Changes: []Change{{32, 8, forgeSize - 56}}, Listed: ErrMalformed},
	"segment of 2^63 bytes":      {Changes: []Change{{forgePhdrs + 40, 8, 1 << 63}}, Listed: ErrMalformed},
	"segment at 2^63":            {Changes: []Change{{forgePhdrs + 16, 8, 1 << 63}}, Listed: ErrMalformed},
	"no segment at offset 0":     {Changes: []Change{{forgePhdrs + 8, 8, 1 << 32}}, Listed: ErrMalformed},
	"big-endian":                 {Changes: []Change{{5, 1, 2}}, Listed: ErrMalformed},
	"class 3":                    {Changes: []Change{{4, 1, 3}}, Listed: ErrMalformed},
	"core file":                  {Changes: []Change{{16, 2, 4}}, Listed: ErrMalformed},
	"program at another place":   {Changes: []Change{{16, 2, 2}}, Listed: ErrMalformed},
	"notes of 2^40 bytes":        {Changes: []Change{{forgePhdrs + 56 + 32, 8, 1 << 40}}, Listed: ErrLimit},
	"notes outside":              {Changes: []Change{{forgePhdrs + 56 + 16, 8, forgeSize}}, Listed: ErrMalformed},
	"note name of 4 GiB":         {Changes: []Change{{forgeNote, 4, 0xffffffff}}, Listed: ErrMalformed},
	"build-id of 4 GiB":          {Changes: []Change{{forgeNote + 4, 4, 0xffffffff}}, Listed: ErrMalformed},
	"build-id of 0 bytes":        {Changes: []Change{{forgeNote + 4, 4, 0}}, Listed: ErrMalformed},
	"dynamic section outside":    {Changes: []Change{{forgePhdrs + 112 + 16, 8, forgeSize - 8}}, Listed: ErrMalformed, Symbols: ErrMalformed},
	"SONAME outside":             {Changes: []Change{dyn(0, 1<<40)}, Listed: ErrMalformed},
	"string table outside":       {Changes: []Change{dyn(1, 1<<40)}, Listed: ErrMalformed, Symbols: ErrMalformed},
	"strings of 2^62 bytes":      {Changes: []Change{dyn(2, 1<<62)}, Listed: ErrMalformed, Symbols: ErrMalformed},
	"strings up to the end": {Changes: []Change{dyn(1, forgeSize-4), dyn(2, 4), {forgeSize - 4, 4, 0x41414141}},
		Listed: ErrMalformed, Symbols: ErrMalformed},
	"symbol table outside":    {Changes: []Change{dyn(3, 1<<40)}, Symbols: ErrMalformed},
	"symbol table at the end": {Changes: []Change{dyn(3, forgeSize-32)}, Symbols: ErrMalformed},
	"no hash table":           {Changes: []Change{noGNU(), dyn(5, 1<<62)}, Symbols: ErrMalformed},
	"4 billion buckets":       {Changes: []Change{{forgeGNU, 4, 0xffffffff}}, Symbols: ErrMalformed},
	"no buckets":              {Changes: []Change{{forgeGNU, 4, 0}}, Symbols: ErrMalformed},
	"4 billion Bloom words":   {Changes: []Change{{forgeGNU + 8, 4, 0xffffffff}}, Symbols: ErrMalformed},
	"bucket before the first": {Changes: []Change{{forgeGNU + 4, 4, 2}}, Symbols: ErrMalformed},
	"bucket without an end":   {Changes: []Change{{forgeGNU + 24, 4, 0x7000_0000}}, Symbols: ErrMalformed},
	"DT_HASH of 4 billion":    {Changes: []Change{noGNU(), {forgeSysV + 4, 4, 0xffffffff}}, Symbols: ErrMalformed},
	"DT_HASH in a circle":     {Changes: []Change{noGNU(), {forgeSysV + 8, 4, 2}, {forgeSysV + 20, 4, 2}}, Symbols: ErrMalformed},
	"DT_HASH outside":         {Changes: []Change{noGNU(), {forgeSysV + 8, 4, 77}}, Symbols: ErrMalformed},
	"symbol outside":          {Changes: []Change{{forgeSymtab + 24 + 8, 8, 1 << 40}}, Symbols: ErrMalformed},
	"symbol of 2^63 bytes":    {Changes: []Change{{forgeSymtab + 24 + 16, 8, 1 << 63}}, Symbols: ErrMalformed},
	"versions outside":        {Changes: []Change{dyn(6, forgeSize-2)}, Symbols: ErrMalformed},
	"2^60 versions":           {Changes: []Change{dyn(8, 1<<60)}, Symbols: ErrLimit},
	"version names outside":   {Changes: []Change{{forgeVerdef + 12, 4, 0xffffffff}}, Symbols: ErrMalformed},
}

// fakeMemory is memory that only a test has.
type fakeMemory map[uint64][]byte

func (f fakeMemory) readAt(b []byte, addr uint64) (int, error) {
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
