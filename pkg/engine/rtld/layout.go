package rtld

import (
	"debug/elf"
	"io"
	"math"
)

// maxFile bounds offsets and addresses in a library's file.
const maxFile = 1 << 30

// LayOut returns the mappings that a dynamic loader would make of a library's file, at a bias of
// place unless the file is linked to its addresses.
func LayOut(f io.ReaderAt, place uint64) ([]Mapping, error) {
	var head [64]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	lay := layouts[elf.ELFCLASS64]
	count := int(le.Uint16(head[lay.phnum:]))
	if string(head[:4]) != elf.ELFMAG || elf.Class(head[4]) != elf.ELFCLASS64 ||
		elf.Data(head[5]) != elf.ELFDATA2LSB ||
		int(le.Uint16(head[lay.phentOff:])) != lay.phentsize || count > maxPhdrs {
		return nil, malformed("not a library of 64 bits")
	}
	table := make([]byte, count*lay.phentsize)
	if _, err := f.ReadAt(table, int64(lay.get(head[lay.phoff:])&math.MaxInt64)); err != nil {
		return nil, err
	}
	var maps []Mapping
	var bias uint64
	if elf.Type(le.Uint16(head[16:])) == elf.ET_DYN {
		bias = place
	}
	for ; len(table) > 0; table = table[lay.phentsize:] {
		if elf.ProgType(le.Uint32(table)) != elf.PT_LOAD {
			continue
		}
		off, addr := lay.get(table[lay.pOffset:]), lay.get(table[lay.pVaddr:])
		filesz, memsz := lay.get(table[lay.pFilesz:]), lay.get(table[lay.pMemsz:])
		if off > maxFile || addr > maxFile || memsz > maxFile || filesz > memsz {
			return nil, ErrLimit
		}
		flags := elf.ProgFlag(le.Uint32(table[4:]))
		m := Mapping{Start: pageDown(bias + addr), End: pageUp(bias + addr + filesz),
			Offset: pageDown(off), File: FileID{1, 1}, Perm: permIf(flags, elf.PF_R, PermRead) |
				permIf(flags, elf.PF_W, PermWrite) | permIf(flags, elf.PF_X, PermExec)}
		if filesz > 0 {
			maps = append(maps, m)
		}
		if end := pageUp(bias + addr + memsz); end > m.End { // .bss
			maps = append(maps, Mapping{Start: m.End, End: end, Perm: m.Perm})
		}
	}
	return maps, nil
}

func permIf(flags, flag elf.ProgFlag, p Perm) Perm {
	if flags&flag != 0 {
		return p
	}
	return 0
}
