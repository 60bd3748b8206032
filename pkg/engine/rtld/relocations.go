package rtld

import (
	"context"
	"debug/elf"
	"fmt"
)

// dynamicEntries are all entries of a library's dynamic section.
type dynamicEntries struct {
	l      *Library
	values map[elf.DynTag]uint64 // of the first entry of each tag
}

// dynamicOf reads a library's dynamic section, once.
func (m *LinkMaps) dynamicOf(ctx context.Context, l *Library) (*dynamicEntries, error) {
	if d := m.dyn[l]; d != nil {
		return d, nil
	}
	if l.Problem != nil || l.Class != elf.ELFCLASS64 || l.dynamic == nil {
		return nil, fmt.Errorf("library %q: %w", l.Name, ErrMalformed)
	}
	d := &dynamicEntries{l: l, values: map[elf.DynTag]uint64{}}
	err := l.eachEntry(m.reader(ctx), func(tag elf.DynTag, value uint64) {
		if _, ok := d.values[tag]; !ok {
			d.values[tag] = value
		}
	})
	if err != nil {
		return nil, err
	}
	m.dyn[l] = d
	return d, nil
}

// Rows of the tables, and how much of a table is read: Chrome's has 10 MiB.
const (
	relaSize           = 24
	maxRelocationBytes = 32 << 20
)

// table reads a table that two entries describe, whole rows of it; nil if there is none.
func (m *LinkMaps) table(ctx context.Context, d *dynamicEntries, at, size elf.DynTag, row,
	most uint64) ([]byte, error) {
	n := d.values[size] / row * row
	addr := d.place(at)
	if n == 0 || addr == 0 {
		return nil, nil
	}
	if n > most || !d.l.Contains(addr, n) {
		return nil, fmt.Errorf("library %q: %v: %w", d.l.Name, at, ErrMalformed)
	}
	b := make([]byte, n)
	_, err := m.p.ReadAt(ctx, b, addr)
	return b, err
}

// place returns the address in an entry: glibc has added the bias to most of them, other loaders
// have not.
func (d *dynamicEntries) place(tag elf.DynTag) uint64 {
	a := d.values[tag]
	if a == 0 || d.l.Contains(a, 1) {
		return a
	}
	return a + d.l.Bias
}
