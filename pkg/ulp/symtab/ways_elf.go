package symtab

import (
	"debug/elf"
	"encoding/binary"
	"slices"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// What may lead into a function besides branches, as a library's file tells: symbols, and addresses
// that the loader writes into data. In a process the native engine finds the latter where they were
// written.

// addData notes a segment without code.
func (p *prover) addData(f *elfx.File, s *elfx.Segment) error {
	addr, pages, err := f.Pages(s, hotpatch.MaxText)
	if err != nil || pages == nil {
		p.unread = p.unread || s.Filesz > 0
		return err
	}
	p.data = append(p.data, hotpatch.Code{Bytes: pages, Addr: addr})
	return nil
}

// bytes returns what is at an address of a segment without code, nil if it is not all there.
func (p *prover) bytes(addr, size uint64) []byte {
	for _, d := range p.data {
		if off := addr - d.Addr; off <= uint64(len(d.Bytes)) && size <= uint64(len(d.Bytes))-off {
			return d.Bytes[off:][:size]
		}
	}
	return nil
}

// addSymbols notes where symbols are.
func (p *prover) addSymbols(l *Library) {
	for _, r := range l.symbols.each() {
		if r.flags&flagUndefined == 0 && elf.ST_TYPE(r.info) != elf.STT_TLS {
			p.symbols = append(p.symbols, r.value)
		}
	}
	slices.Sort(p.symbols)
	p.symbols = slices.Compact(p.symbols)
}

// addPointers notes the addresses that relocations write. Those of other libraries are none of this
// one.
func (p *prover) addPointers(f *elfx.File, l *Library) {
	d := p.relocations(f, l, func(_, target uint64, _ elf.R_X86_64) {
		p.pointers = append(p.pointers, target)
	})
	p.pointers = append(p.pointers, f.Entry(), d[elf.DT_INIT], d[elf.DT_FINI])
}

// relocations calls yield for the relocations of the library: where the loader writes, what address
// and why. It returns the dynamic section.
func (p *prover) relocations(f *elfx.File, l *Library,
	yield func(slot, target uint64, kind elf.R_X86_64)) map[elf.DynTag]uint64 {
	d := map[elf.DynTag]uint64{}
	if s := f.Segment(elf.PT_DYNAMIC); s != nil {
		b := p.bytes(s.Vaddr, s.Filesz)
		p.unread = p.unread || b == nil
		for ; len(b) >= dynSize && binary.LittleEndian.Uint64(b) != 0; b = b[dynSize:] {
			d[elf.DynTag(binary.LittleEndian.Uint64(b))] = binary.LittleEndian.Uint64(b[8:])
		}
	}
	dynsym := l.symbols.tables[0].file
	for _, tags := range [][2]elf.DynTag{{elf.DT_RELA, elf.DT_RELASZ},
		{elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		for b := p.tagged(d, tags[0], tags[1]); len(b) >= relaSize; b = b[relaSize:] {
			target := binary.LittleEndian.Uint64(b[16:])
			if i := int(binary.LittleEndian.Uint32(b[12:])); i > 0 && dynsym != nil &&
				i < dynsym.rows.Len() {
				target += dynsym.rows.Row(i).Value
			}
			yield(binary.LittleEndian.Uint64(b), target,
				elf.R_X86_64(binary.LittleEndian.Uint32(b[8:])))
		}
	}
	p.relative(p.tagged(d, dtRELR, dtRELRSZ), func(slot, target uint64) {
		yield(slot, target, elf.R_X86_64_RELATIVE)
	})
	return d
}

// Tags that debug/elf does not name in all versions, and the length of a relocation.
const (
	dtRELRSZ elf.DynTag = 35
	dtRELR   elf.DynTag = 36
	relaSize            = 24
	dynSize             = 16
)

// tagged returns a table that two entries of the dynamic section describe. One that is not all
// there is noted.
func (p *prover) tagged(d map[elf.DynTag]uint64, at, size elf.DynTag) []byte {
	if d[at] == 0 || d[size] == 0 {
		return nil
	}
	b := p.bytes(d[at], d[size])
	p.unread = p.unread || b == nil
	return b
}

// relative calls yield for the places that relative relocations in their short form (RELR) change,
// with the addresses that the file has there.
func (p *prover) relative(b []byte, yield func(slot, target uint64)) {
	var next uint64
	word := func(at uint64) {
		if b := p.bytes(at, 8); b != nil {
			yield(at, binary.LittleEndian.Uint64(b))
		}
	}
	for ; len(b) >= 8; b = b[8:] {
		v := binary.LittleEndian.Uint64(b)
		if v&1 == 0 {
			word(v)
			next = v + 8
			continue
		}
		for i := range uint64(63) {
			if v>>(i+1)&1 != 0 {
				word(next + 8*i)
			}
		}
		next += 63 * 8
	}
}
