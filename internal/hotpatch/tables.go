package hotpatch

import (
	"encoding/binary"
	"slices"
)

// A jump through a register or memory goes to an address that some code has computed.
// Addresses of code come from three places: pointers in data and in symbol tables, which are ways
// in as any other (see ways.go); instructions that take an address relative to themselves (lea);
// and tables of distances, which are added to an address that lea has made. So compilers make a
// switch:
//
//	lea table(%rip),%rdx; movslq (%rdx,%rax,4),%rax; add %rdx,%rax; jmp *%rax
//
// with distances from the table itself, or from a label (goto *(&&label + table[i])). What is made
// otherwise (distances of one or two bytes, as people write them) may be any address, also where
// the label is the function's own name.

// indirect is a jump through a register or memory, and what is before it, the nearest first.
type indirect struct {
	instruction
	before [4]instruction
}

// tables returns an error unless no jump of the function through a register or memory can lead to
// what is replaced. leas are the addresses that it takes, and inner says that it calls code of its
// own, which takes one, too.
func (f *function) tables(jumps []indirect, leas []uint64, inner bool) error {
	labels := f.labels(leas)
	for _, j := range jumps {
		if (len(labels) > 0 || inner || slices.Contains(leas, f.addr) || f.isSum(&j)) &&
			!f.isSwitch(&j) {
			return no("a jump in it may lead anywhere in it", "at +%#x", j.off)
		}
		modrm := f.code[j.off+j.modrm]
		if modrm < 0xc0 && modrm&7 == 4 && f.code[j.off+j.modrm+1]&0x38 != 0x20 &&
			(f.t.pointed(f.addr) || f.t.pointed(f.addr+uint64(f.first))) {
			return no("a jump in it through a table of pointers may lead to its beginning",
				"at +%#x", j.off)
		}
	}
	left := maxTable
	if slices.Contains(leas, f.addr) {
		labels = append(labels, f.addr)
	}
	for _, table := range leas {
		for _, base := range append(labels, table) {
			known := f.t.table(table, base, func(target uint64) bool {
				left--
				return left > 0 && (target < f.addr+uint64(f.first) || target >= f.addr+
					uint64(f.end)) && target != f.addr
			})
			if !known {
				return no("a jump in it leads into its first bytes by a table", "")
			}
		}
	}
	return nil
}

// maxTable bounds what is read of tables for one function.
const maxTable = 1 << 16

// labels returns which addresses may be within a function: those of code where no function is known
// to begin, and of its own.
func (f *function) labels(leas []uint64) []uint64 {
	var list []uint64
	for _, at := range leas {
		if f.t.isCode(at) && at != f.addr && (at-f.addr < uint64(len(f.code)) || !f.t.isStart(at)) {
			list = append(list, at)
		}
	}
	return list
}

// isSum reports whether a jump is to what has just been computed: an address with a distance of
// whatever kind.
func (f *function) isSum(j *indirect) bool {
	modrm, in := f.code[j.off+j.modrm], &j.before[0]
	if modrm < 0xc0 || in.size == 0 || in.modrm == 0 || in.modrm != in.opcode+1 {
		return false
	}
	op, m, rex := f.code[in.off+in.opcode], f.code[in.off+in.modrm], f.rex(in)
	into := m>>3&7 | rex&4<<1
	switch {
	case op == 0x01, op == 0x29, op == 0x81, op == 0x83: // add, sub, and those with a constant
		if m < 0xc0 || op&0x80 != 0 && m&0x38 != 0 && m&0x38 != 0x28 {
			return false
		}
		into = m&7 | rex&1<<3
	case op == 0x8d && in.rip != 0, op != 0x03 && op != 0x2b && op != 0x8d:
		// lea of one place, which is a pointer as any other
		return false
	}
	return into == modrm&7|f.rex(&j.instruction)&1<<3
}

// isSwitch reports whether a jump is to the sum of an address and a distance out of a table.
func (f *function) isSwitch(j *indirect) bool {
	modrm := f.code[j.off+j.modrm]
	if modrm < 0xc0 {
		return false
	}
	to := modrm&7 | f.rex(&j.instruction)&1<<3
	for i, in := range j.before {
		if in.size == 0 || in.leads() || in.flow != next {
			return false
		}
		op, rex := f.code[in.off+in.opcode], f.rex(&in)
		if in.modrm != in.opcode+1 || rex&8 == 0 {
			continue
		}
		m := f.code[in.off+in.modrm]
		switch {
		case i == 0 && (m < 0xc0 || op != 0x01 && op != 0x03): // add
			return false
		case i == 0:
			into := m&7 | rex&1<<3
			if op == 0x03 {
				into = m>>3&7 | rex&4<<1
			}
			if into != to {
				return false
			}
		case op == 0x63 && (in.rip != 0 || m < 0xc0 && m&7 == 4 &&
			f.code[in.off+in.modrm+1]>>6 == 2): // movslq (,,4), or of one row
			return true
		}
	}
	return false
}

// rex returns the REX prefix of an instruction of the first map, 0 if it has none.
func (f *function) rex(in *instruction) byte {
	if in.opcode == 0 {
		return 0
	}
	if b := f.code[in.off+in.opcode-1]; b&0xf0 == 0x40 {
		return b
	}
	return 0
}

// table calls yield for each address that a table of distances from a base leads to, as long as
// they are of code, and until yield returns false, which it then returns, too.
func (t *Text) table(at, base uint64, yield func(target uint64) bool) bool {
	for i := range t.Data {
		d := &t.Data[i]
		if at < d.Addr || at-d.Addr >= uint64(len(d.Bytes)) {
			continue
		}
		for b := d.Bytes[at-d.Addr:]; len(b) >= 4; b = b[4:] {
			target := base + uint64(int64(int32(binary.LittleEndian.Uint32(b))))
			if !t.isCode(target) {
				return true
			}
			if !yield(target) {
				return false
			}
		}
	}
	return true
}
