package native

import (
	"debug/elf"
	"fmt"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// relocation is one word of the image to be filled in.
type relocation struct {
	off    uint64
	kind   elf.R_X86_64
	symbol int // row of .dynsym; 0: none
	addend int64
}

const (
	relaSize       = 24
	symbolSize     = 24
	relrSize       = 8
	maxRelocations = 1 << 20
)

// kinds are the relocations that are understood. What is left out: COPY, which shared objects do
// not have; IRELATIVE and TLSDESC, which need code to be run; 32-bit ones, which nothing guarantees
// to reach.
var kinds = map[elf.R_X86_64]bool{
	elf.R_X86_64_RELATIVE: true, elf.R_X86_64_64: true, elf.R_X86_64_GLOB_DAT: true,
	elf.R_X86_64_JMP_SLOT: true,
	elf.R_X86_64_DTPMOD64: true, elf.R_X86_64_DTPOFF64: true, elf.R_X86_64_TPOFF64: true,
}

// readRelocations reads the three tables, and refuses what cannot be carried out.
func readRelocations(im *image, d *elfx.Dynamic, symbols int) ([]relocation, error) {
	list, err := readRelr(im, d)
	if err != nil {
		return nil, err
	}
	if v, ok := d.Value(elf.DT_PLTREL); ok && elf.DynTag(v) != elf.DT_RELA {
		return nil, fmt.Errorf("%w: relocations without addends", ErrContainer)
	}
	if _, ok := d.Value(elf.DT_REL); ok {
		return nil, fmt.Errorf("%w: relocations without addends", ErrContainer)
	}
	for _, t := range [][2]elf.DynTag{{elf.DT_RELA, elf.DT_RELASZ},
		{elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		table, err := dynamicTable(im, d, t[0], t[1])
		if err != nil {
			return nil, err
		}
		for ; len(table) >= relaSize; table = table[relaSize:] {
			info := le.Uint64(table[8:])
			r := relocation{off: le.Uint64(table), kind: elf.R_X86_64(uint32(info)),
				symbol: int(info >> 32), addend: int64(le.Uint64(table[16:]))}
			if r.kind == elf.R_X86_64_NONE {
				continue
			}
			if err := r.check(im, symbols); err != nil {
				return nil, err
			}
			list = append(list, r)
		}
	}
	return list, nil
}

func (r *relocation) check(im *image, symbols int) error {
	switch {
	case r.kind == elf.R_X86_64_IRELATIVE:
		return errOwnIFUNC
	case r.kind == elf.R_X86_64_TLSDESC:
		return &ContainerError{"tls-descriptors", "it uses TLS descriptors",
			"compile without -mtls-dialect=gnu2"}
	case !kinds[r.kind]:
		return fmt.Errorf("%w: relocation %v at %#x", ErrContainer, r.kind, r.off)
	case im.bytes(r.off, 8) == nil || im.code(r.off, 8):
		return fmt.Errorf("%w: relocation %v of %#x, which is not data", ErrContainer, r.kind,
			r.off)
	case r.symbol >= symbols:
		return fmt.Errorf("%w: relocation against a symbol that does not exist", ErrContainer)
	case r.symbol == 0 && (r.kind == elf.R_X86_64_DTPMOD64 || r.kind == elf.R_X86_64_TPOFF64):
		return errOwnTLS
	}
	return nil
}

var (
	errOwnTLS error = &ContainerError{"thread-local", "it has thread-local variables of its own",
		"use the library's by a reference (#%variable:pointer), or a lock"}
	errOwnIFUNC error = &ContainerError{"local-ifunc",
		"it has an indirect function (IFUNC) of its own, whose resolver would have to run in the " +
			"process",
		"choose the implementation in an ordinary function"}
)

// dynamicTable returns the table that two entries of the dynamic section describe; nil if there is
// none.
func dynamicTable(im *image, d *elfx.Dynamic, at, size elf.DynTag) ([]byte, error) {
	addr, ok := d.Value(at)
	n, sized := d.Value(size)
	if !ok || !sized || n == 0 {
		return nil, nil
	}
	b := im.bytes(addr, n)
	if b == nil || n/relrSize > maxRelocations {
		return nil, fmt.Errorf("%w: %v is outside of the container", ErrContainer, at)
	}
	return b, nil
}

// Tags of packed relative relocations, which debug/elf does not know.
const (
	dtRelrsz = elf.DynTag(35)
	dtRelr   = elf.DynTag(36)
)

// readRelr unpacks relative relocations: an even word is an address, an odd one a bitmap of the 63
// words after.
func readRelr(im *image, d *elfx.Dynamic) ([]relocation, error) {
	table, err := dynamicTable(im, d, dtRelr, dtRelrsz)
	if err != nil {
		return nil, err
	}
	var list []relocation
	add := func(at uint64) error {
		b := im.bytes(at, 8)
		if b == nil || im.code(at, 8) || len(list) == maxRelocations {
			return fmt.Errorf("%w: packed relocation of %#x, which is not data", ErrContainer, at)
		}
		list = append(list, relocation{off: at, kind: elf.R_X86_64_RELATIVE,
			addend: int64(le.Uint64(b))})
		return nil
	}
	var next uint64
	for ; len(table) >= relrSize; table = table[relrSize:] {
		word := le.Uint64(table)
		if word&1 == 0 {
			if err := add(word); err != nil {
				return nil, err
			}
			next = word + 8
			continue
		}
		for i := range uint64(63) {
			if word>>(i+1)&1 != 0 {
				if err := add(next + 8*i); err != nil {
					return nil, err
				}
			}
		}
		next += 63 * 8
	}
	return list, nil
}
