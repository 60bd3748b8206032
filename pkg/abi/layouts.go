package abi

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// collector keeps the types that the library's functions and variables lead to.
type collector struct {
	*namer
	facts *Facts
	lines *lineTables
	seen  []bool // by the index of the type
	next  []int  // indexes of types that were seen, and not followed
	known map[uint64]bool
	hash  maphash.Hash
}

// reach notes that the type at a place is used.
func (c *collector) reach(at ref) {
	if i := c.typeAt(at); i >= 0 && !c.seen[i] {
		c.seen[i] = true
		c.next = append(c.next, i)
	}
}

// follow collects the layouts of all types that those reached lead to.
func (c *collector) follow() {
	for len(c.next) > 0 {
		i := c.next[len(c.next)-1]
		c.next = c.next[:len(c.next)-1]
		t := &c.types[i]
		c.reach(t.target)
		for _, p := range c.parts[t.first : t.first+t.n] {
			c.reach(p.target)
		}
		if kinds[t.tag] != "" && !t.declared {
			c.layout(i)
		}
	}
	slices.SortFunc(c.facts.Layouts, func(a, b Layout) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Unit, b.Unit),
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}

// layout adds a type's layout, unless another unit has the same.
func (c *collector) layout(i int) {
	t := &c.types[i]
	l := Layout{Name: c.text(t.at, 0), Kind: kinds[t.tag], Size: c.size(t.at, 0)}
	parts := c.parts[t.first : t.first+t.n]
	if l.Kind == Typedef {
		l.Target = c.text(t.target, 0)
	}
	key := c.key(&l, parts)
	if c.known[key] {
		return
	}
	c.known[key] = true
	l.Unit = c.units[t.unit].index
	l.File, l.Line = c.lines.file(int(t.unit), t.file), int(t.line)
	for _, p := range parts {
		if l.Kind == Enum {
			l.Values = append(l.Values, Value{p.name, p.value})
			continue
		}
		m := Member{Name: p.name, Type: c.name(p.target), Offset: p.value, BitSize: p.bitSize,
			Line: int(p.line)}
		if p.bitSize > 0 {
			m.BitOffset = max(p.bitOffset, p.value*8)
		}
		l.Members = append(l.Members, m)
	}
	c.facts.Layouts = append(c.facts.Layouts, l)
}

// key returns a hash of a layout. Its seed is secret, so that no file can be made in which
// different layouts have the same.
func (c *collector) key(l *Layout, parts []part) uint64 {
	h := &c.hash
	h.Reset()
	writeString(h, l.Name, l.Target)
	writeNumbers(h, l.Size)
	for i := range parts {
		p := &parts[i]
		writeString(h, p.name)
		if l.Kind != Enum {
			writeString(h, c.text(p.target, 0))
			writeNumbers(h, c.size(p.target, 0))
		}
		writeNumbers(h, p.value, p.bitOffset, p.bitSize)
	}
	return h.Sum64()
}

func writeString(h *maphash.Hash, list ...string) {
	for _, s := range list {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
}

func writeNumbers(h *maphash.Hash, numbers ...int64) {
	for _, n := range numbers {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		_, _ = h.Write(b[:])
	}
}
