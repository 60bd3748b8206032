package rtld

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
)

// Implementation returns the implementation of an indirect function (IFUNC), or an error that wraps
// [ErrUnresolved]. Its resolver is never run: it would be code of the target's, and its answer is
// there already. The library's own calls go through slots that the dynamic loader filled (IRELATIVE
// relocations, whose addend is the resolver), and so do those of other libraries, as far as they
// are bound (GLOB_DAT and JUMP_SLOT relocations of the name). A slot counts only if it leads to
// code of the very same library that is not the resolver itself.
func (m *LinkMaps) Implementation(ctx context.Context, b Binding) (uint64, error) {
	addr, err := m.slotOf(ctx, b.Library, b, true)
	if err != nil || addr != 0 {
		return addr, err
	}
	for _, lm := range m.all() {
		addr, err := m.slotOf(ctx, lm.Library, b, false)
		if err != nil || addr != 0 {
			return addr, err
		}
	}
	return 0, fmt.Errorf("%q is an indirect function (IFUNC) that nothing in the process is "+
		"bound to yet, so that its implementation is not known: %w", b.Symbol.Name, ErrUnresolved)
}

// slotOf searches one library's relocations for a slot that holds the implementation; 0: there is
// none.
func (m *LinkMaps) slotOf(ctx context.Context, l *Library, b Binding, own bool) (uint64, error) {
	d, err := m.dynamicOf(ctx, l)
	if errors.Is(err, ErrMalformed) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	for _, t := range [][2]elf.DynTag{{elf.DT_JMPREL, elf.DT_PLTRELSZ},
		{elf.DT_RELA, elf.DT_RELASZ}} {
		table, err := m.table(ctx, d, t[0], t[1], relaSize, maxRelocationBytes)
		if errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnreadable) {
			continue
		} else if err != nil {
			return 0, err
		}
		for row := 0; len(table) >= relaSize; row, table = row+1, table[relaSize:] {
			if !m.meant(ctx, d, table, b, own) {
				continue
			}
			slot := l.Bias + le.Uint64(table)
			if !l.Contains(slot, 8) {
				continue
			}
			addr, err := m.word(ctx, slot)
			if err == nil && addr != b.Symbol.Addr && b.Library.Executable(addr) &&
				!m.waits(ctx, addr, row) {
				return addr, nil
			}
		}
	}
	return 0, nil
}

var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// waits reports whether the code at addr is that which asks the dynamic loader to bind a row of
// DT_JMPREL at the first call: it pushes the row's number. Slots of the library itself lead there
// until then.
func (m *LinkMaps) waits(ctx context.Context, addr uint64, row int) bool {
	var code [9]byte
	if _, err := m.p.ReadAt(ctx, code[:], addr); err != nil {
		return true
	}
	c := bytes.TrimPrefix(code[:], endbr64)
	return c[0] == 0x68 && le.Uint32(c[1:]) == uint32(row)
}

// meant reports whether a relocation is of the indirect function.
func (m *LinkMaps) meant(ctx context.Context, d *dynamicEntries, row []byte, b Binding,
	own bool) bool {
	info := le.Uint64(row[8:])
	switch elf.R_X86_64(uint32(info)) {
	case elf.R_X86_64_IRELATIVE:
		return own && d.l.Bias+le.Uint64(row[16:]) == b.Symbol.Addr
	case elf.R_X86_64_JMP_SLOT, elf.R_X86_64_GLOB_DAT, elf.R_X86_64_64:
		return !own && le.Uint64(row[16:]) == 0 &&
			m.symbolName(ctx, d, info>>32, len(b.Symbol.Name)) == b.Symbol.Name &&
			m.sameSymbol(ctx, d.l, info>>32, b)
	}
	return false
}

// sameSymbol reports whether a library's reference of the function's name means it, and not another
// version of it.
func (m *LinkMaps) sameSymbol(ctx context.Context, l *Library, row uint64, b Binding) bool {
	from, err := m.Symbols(ctx, l)
	if err != nil || from == nil {
		return false
	}
	version, err := from.VersionOf(ctx, row)
	if err != nil {
		return false
	}
	in, err := m.Symbols(ctx, b.Library)
	if err != nil || in == nil {
		return false
	}
	sym, err := in.Bind(ctx, Reference{Name: b.Symbol.Name, Version: version})
	return err == nil && sym.Addr == b.Symbol.Addr
}

// symbolName reads a name of at most n bytes from a library's .dynsym; "" if it is longer.
func (m *LinkMaps) symbolName(ctx context.Context, d *dynamicEntries, row uint64, n int) string {
	var sym [symbolSize]byte
	at := d.place(elf.DT_SYMTAB) + row*symbolSize
	if !d.l.Contains(at, symbolSize) {
		return ""
	}
	if _, err := m.p.ReadAt(ctx, sym[:], at); err != nil {
		return ""
	}
	name := make([]byte, n+1)
	at = d.place(elf.DT_STRTAB) + uint64(le.Uint32(sym[:]))
	if !d.l.Contains(at, uint64(len(name))) {
		return ""
	}
	if _, err := m.p.ReadAt(ctx, name, at); err != nil || name[n] != 0 {
		return ""
	}
	return string(name[:n])
}
