package rtld

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// exported is something that a library defines, and yet reaches through a slot which the dynamic
// loader filled, since others may have it in its place: a program that uses a variable of a library
// directly has a copy (COPY relocation), which is everybody's variable from then on.
type exported struct {
	addr uint64 // in the library itself
	slot uint64
}

// Variable returns where a variable of a library is, that lies at addr in the library itself: for
// one that others may have, where the library looks for it.
func (m *LinkMaps) Variable(ctx context.Context, l *Library, addr uint64) (uint64, error) {
	if !l.Contains(addr, 1) {
		return 0, ErrUnresolved
	}
	list, err := m.exports(ctx, l)
	if err != nil {
		return 0, err
	}
	at, found := addr, false
	for _, e := range list { // one for each name that the variable has
		if e.addr != addr {
			continue
		}
		to, err := m.word(ctx, e.slot)
		if err != nil {
			return 0, err
		}
		if found && to != at || !slices.ContainsFunc(m.libs, func(l *Library) bool {
			return l.Contains(to, 1)
		}) {
			return 0, ErrUnresolved // in two places, by two names: it is not known which is meant
		}
		at, found = to, true
	}
	return at, nil
}

// exports reads a library's slots for what it defines itself (GLOB_DAT relocations), once.
func (m *LinkMaps) exports(ctx context.Context, l *Library) ([]exported, error) {
	if list, ok := m.copied[l]; ok {
		return list, nil
	}
	d, err := m.dynamicOf(ctx, l)
	if errors.Is(err, ErrMalformed) { // a static program
		m.copied[l] = nil
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	table, err := m.table(ctx, d, elf.DT_RELA, elf.DT_RELASZ, relaSize, maxRelocationBytes)
	if err != nil {
		return nil, err
	}
	slots, rows := map[uint64]uint64{}, uint64(0)
	for ; len(table) >= relaSize; table = table[relaSize:] {
		info, slot := le.Uint64(table[8:]), l.Bias+le.Uint64(table)
		if elf.R_X86_64(uint32(info)) == elf.R_X86_64_GLOB_DAT && l.Contains(slot, 8) {
			slots[info>>32], rows = slot, max(rows, info>>32+1)
		}
	}
	list := []exported{}
	if len(slots) == 0 {
		m.copied[l] = list
		return list, nil
	}
	at := d.place(elf.DT_SYMTAB)
	if rows > maxRelocationBytes/symbolSize || !l.Contains(at, rows*symbolSize) {
		return nil, fmt.Errorf("symbol table: %w", ErrMalformed)
	}
	symbols := make([]byte, rows*symbolSize)
	if _, err := m.p.ReadAt(ctx, symbols, at); err != nil {
		return nil, err
	}
	for _, row := range slices.Sorted(maps.Keys(slots)) {
		if b := symbols[row*symbolSize:]; le.Uint16(b[6:]) != uint16(elf.SHN_UNDEF) {
			list = append(list, exported{l.Bias + le.Uint64(b[8:]), slots[row]})
		}
	}
	m.copied[l] = list
	return list, nil
}
