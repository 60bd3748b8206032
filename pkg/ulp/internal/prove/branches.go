package prove

import "encoding/binary"

// EachBranch calls yield for all direct branches in code, wherever an instruction may begin in it, with the addresses that
// they are at and lead to, until it returns false. Data that looks like a branch is taken for one.
func EachBranch(code []byte, addr uint64, yield func(from, to uint64) bool) {
	for i := 0; i+NearLen <= len(code); i++ {
		at := i + 1
		switch c := code[i]; {
		case c&0xfe == 0xe8: // call, jmp
		case c == 0x0f && code[i+1]&0xf0 == 0x80 && i+NearLen < len(code): // jcc
			at++
		default:
			continue
		}
		to := addr + uint64(at+4) + uint64(int64(int32(binary.LittleEndian.Uint32(code[at:]))))
		if !yield(addr+uint64(i), to) {
			return
		}
	}
}

// EntersAt finds the first branch in code that leads between from and to, neither of them included.
func EntersAt(code []byte, addr, from, to uint64) (at uint64, found bool) {
	EachBranch(code, addr, func(a, target uint64) bool {
		found = target > from && target < to
		at = a
		return !found
	})
	return at, found
}

// Branches are the places in a stretch of code that branches in it lead to: what [EntersAt] says, for whoever asks about all
// functions.
type Branches struct {
	addr uint64
	to   []uint64 // a bit for each byte
}

// NewBranches searches the code at an address.
func NewBranches(code []byte, addr uint64) *Branches {
	b := &Branches{addr, make([]uint64, len(code)/64+1)}
	EachBranch(code, addr, func(_, to uint64) bool {
		if i := to - addr; i < uint64(len(code)) {
			b.to[i/64] |= 1 << (i % 64)
		}
		return true
	})
	return b
}

// Enter says whether a branch leads between from and to, neither of them included. Both are in the code.
func (b *Branches) Enter(from, to uint64) bool {
	for i := from + 1 - b.addr; i < to-b.addr && i/64 < uint64(len(b.to)); i++ {
		if b.to[i/64]>>(i%64)&1 != 0 {
			return true
		}
	}
	return false
}
