package hotpatch

import (
	"encoding/binary"
	"math"
)

// The instructions that a jump replaces are carried out elsewhere. Those that lead somewhere get
// near distances there. A call becomes a push of the address that it returns to, and a jump: it
// returns to the function, not to the copy, so that an unwinder finds what it knows, and nothing
// has to stay in memory for a call that lasts.

// MovedLen is the room for the copy, with what leads on from there.
const MovedLen = 56

const (
	jumpSize    = 5 // jmp
	branchSize  = 6 // jcc
	pushSize    = 6 // push of what is in memory
	addressSize = 8
)

// layout returns where each instruction is in the copy, and the length of the copy.
func layout(list []instruction) (at []int, size int) {
	at = make([]int, len(list))
	for i, in := range list {
		at[i] = size
		switch in.flow {
		case branch:
			size += branchSize
		case jump:
			size += jumpSize
		case call:
			size += pushSize + jumpSize + addressSize
		case callAnywhere:
			size += pushSize + in.size + addressSize
		default:
			size += in.size
		}
	}
	if last := list[len(list)-1]; last.goesOn() && last.flow != call && last.flow != callAnywhere {
		size += jumpSize
	}
	return at, size
}

// Moved returns the first instructions of a function, which are to be carried out at another
// address instead of at addr, and then go on with what follows them. ok is false if something that
// they lead to cannot be reached from there.
func Moved(code []byte, addr, to uint64) (out []byte, ok bool, err error) {
	m := mover{code: code, addr: addr, to: to, ok: true}
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" {
			return nil, false, no(why, "at +%#x", off)
		}
		if err := in.movable(code); err != nil {
			return nil, false, err
		}
		m.list = append(m.list, in)
		off += in.size
	}
	if len(m.list) == 0 {
		return nil, false, ErrMove
	}
	at, size := layout(m.list)
	if m.at = at; size > MovedLen {
		return nil, false, ErrMove
	}
	for i := range m.list {
		m.move(i)
	}
	if len(m.out) < size {
		m.out = append(m.out, 0xe9)
		m.distance(addr+uint64(len(code)), 0)
	}
	if !m.ok {
		return nil, false, nil
	}
	return m.out, true, nil
}

// mover makes a copy.
type mover struct {
	code     []byte
	addr, to uint64 // where the code is, and where the copy will be
	list     []instruction
	at       []int // where each of them is in the copy
	out      []byte
	ok       bool // everything is within reach
}

// move appends an instruction.
func (m *mover) move(i int) {
	in := &m.list[i]
	code := m.code[in.off : in.off+in.size]
	switch in.flow {
	case branch:
		m.out = append(m.out, 0x0f, 0x80|code[in.opcode]&0x0f)
		m.distance(m.target(in), 0)
	case jump:
		m.out = append(m.out, 0xe9)
		m.distance(m.target(in), 0)
	case call:
		m.push(jumpSize)
		m.out = append(m.out, 0xe9)
		m.distance(m.target(in), 0)
		m.out = binary.LittleEndian.AppendUint64(m.out, m.addr+uint64(in.off+in.size))
	case callAnywhere:
		m.push(in.size)
		at := len(m.out)
		m.copy(in, code)
		m.out[at+in.modrm] ^= 0x30 // jmp instead of call
		m.out = binary.LittleEndian.AppendUint64(m.out, m.addr+uint64(in.off+in.size))
	default:
		m.copy(in, code)
	}
}

// copy appends an instruction that is the same everywhere, but for a distance to memory.
func (m *mover) copy(in *instruction, code []byte) {
	if in.rip == 0 {
		m.out = append(m.out, code...)
		return
	}
	target := m.addr + uint64(in.off+in.size) + distance(code[in.rip:])
	m.out = append(m.out, code[:in.rip]...)
	m.distance(target, len(code)-in.rip-4)
	m.out = append(m.out, code[in.rip+4:]...)
}

// push appends a push of the address after the next so many bytes.
func (m *mover) push(skip int) {
	m.out = binary.LittleEndian.AppendUint32(append(m.out, 0xff, 0x35), uint32(skip))
}

// target is where a branch leads: within the copy, if its target is moved too.
func (m *mover) target(in *instruction) uint64 {
	for i := range m.list {
		if m.list[i].off == in.target && in.flow != call {
			return m.to + uint64(m.at[i])
		}
	}
	return m.addr + uint64(int64(in.target))
}

// distance appends a distance to an address, in an instruction that has so many more bytes.
func (m *mover) distance(target uint64, more int) {
	d := int64(target - m.to - uint64(len(m.out)+4+more))
	if d < math.MinInt32 || d > math.MaxInt32 {
		m.ok = false
	}
	m.out = binary.LittleEndian.AppendUint32(m.out, uint32(d))
}

// distance reads a distance of four bytes.
func distance(b []byte) uint64 { return uint64(int64(int32(binary.LittleEndian.Uint32(b)))) }
