package rtld

import (
	"context"
	"debug/elf"
	"fmt"
	"math/bits"
)

// Tables of relocations without symbols and addends (DT_RELR), which package elf does not know.
const (
	dtRELR   elf.DynTag = 36
	dtRELRSZ elf.DynTag = 35

	maxRelocationTable = 64 << 20 // bytes of a table
)

// Pointers returns the addresses that the dynamic loader writes somewhere when it loads a library,
// or calls. In a process they stand in its data; in a file, which p is, in its relocations.
func Pointers(ctx context.Context, p Process, l *Library) ([]uint64, error) {
	m := NewLinkMaps(p, []*Library{l}, nil)
	d, err := m.dynamicOf(ctx, l)
	if err != nil {
		return nil, err
	}
	if d.values[elf.DT_REL] != 0 || d.values[elf.DT_PLTREL] != 0 &&
		d.values[elf.DT_PLTREL] != uint64(elf.DT_RELA) {
		return nil, fmt.Errorf("library %q: relocations without addends: %w", l.Name, ErrUnreadable)
	}
	entry, err := m.word(ctx, l.Segments[0].Start+24) // e_entry
	if err != nil {
		return nil, err
	}
	list := []uint64{l.Bias + entry, l.Bias + d.values[elf.DT_INIT], l.Bias + d.values[elf.DT_FINI]}
	for _, tags := range [][2]elf.DynTag{{elf.DT_RELA, elf.DT_RELASZ},
		{elf.DT_JMPREL, elf.DT_PLTRELSZ}} {
		rows, err := m.table(ctx, d, tags[0], tags[1], relaSize, maxRelocationTable)
		if err != nil {
			return nil, err
		}
		for ; len(rows) > 0; rows = rows[relaSize:] {
			target := l.Bias + le.Uint64(rows[16:])
			if i := uint64(le.Uint32(rows[12:])); i > 0 { // of a symbol
				value, err := m.word(ctx, d.place(elf.DT_SYMTAB)+i*symbolSize+8)
				if err != nil {
					return nil, err
				}
				target += value
			}
			list = append(list, target)
		}
	}
	return m.relative(ctx, d, list)
}

// relative adds the pointers that DT_RELR describes: a row is a place, or the bits of the 63 places
// that follow the last one.
func (m *LinkMaps) relative(ctx context.Context, d *dynamicEntries,
	list []uint64) ([]uint64, error) {
	rows, err := m.table(ctx, d, dtRELR, dtRELRSZ, 8, maxRelocationTable)
	if err != nil {
		return nil, err
	}
	var next uint64
	var words [63 * 8]byte
	for ; len(rows) > 0; rows = rows[8:] {
		row := le.Uint64(rows)
		places := row >> 1
		if row&1 == 0 {
			next, places = d.l.Bias+row, 1
		}
		b := words[:bits.Len64(places)*8]
		if _, err := m.p.ReadAt(ctx, b, next); err != nil {
			return nil, err
		}
		for i := range len(b) / 8 {
			if places>>i&1 != 0 {
				list = append(list, d.l.Bias+le.Uint64(b[8*i:]))
			}
		}
		if next += 63 * 8; row&1 == 0 {
			next = d.l.Bias + row + 8
		}
	}
	return list, nil
}
