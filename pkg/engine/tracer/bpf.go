package tracer

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// bpf is the machine on which filters of system calls run (classic BPF, with the restrictions of
// seccomp_check_filter).
type bpf struct {
	a, x uint32
	mem  [16]uint32
	data []byte
}

// runFilter returns what a filter says of struct seccomp_data. The kernel has checked the filter,
// but this does not rely on it: what is out of bounds kills, as the strictest answer.
func runFilter(prog []unix.SockFilter, data []byte) uint32 {
	m := bpf{data: data}
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		switch in.Code & 7 {
		case unix.BPF_RET:
			if in.Code&unix.BPF_A != 0 {
				return m.a
			}
			return in.K
		case unix.BPF_JMP:
			pc += m.jump(in)
		case unix.BPF_ALU:
			if !m.alu(in) {
				return unix.SECCOMP_RET_KILL_PROCESS
			}
		default:
			if !m.move(in) {
				return unix.SECCOMP_RET_KILL_PROCESS
			}
		}
	}
	return unix.SECCOMP_RET_KILL_PROCESS
}

// operand is the second operand of jumps and arithmetic.
func (m *bpf) operand(in unix.SockFilter) uint32 {
	if in.Code&unix.BPF_X != 0 {
		return m.x
	}
	return in.K
}

// jump returns how many instructions to skip.
func (m *bpf) jump(in unix.SockFilter) int {
	v, taken := m.operand(in), false
	switch in.Code & 0xf0 {
	case unix.BPF_JA:
		return int(min(in.K, filterMost))
	case unix.BPF_JEQ:
		taken = m.a == v
	case unix.BPF_JGT:
		taken = m.a > v
	case unix.BPF_JGE:
		taken = m.a >= v
	case unix.BPF_JSET:
		taken = m.a&v != 0
	}
	if taken {
		return int(in.Jt)
	}
	return int(in.Jf)
}

func (m *bpf) alu(in unix.SockFilter) bool {
	v := m.operand(in)
	switch in.Code & 0xf0 {
	case unix.BPF_ADD:
		m.a += v
	case unix.BPF_SUB:
		m.a -= v
	case unix.BPF_MUL:
		m.a *= v
	case unix.BPF_DIV:
		if v == 0 {
			return false
		}
		m.a /= v
	case unix.BPF_OR:
		m.a |= v
	case unix.BPF_AND:
		m.a &= v
	case unix.BPF_XOR:
		m.a ^= v
	case unix.BPF_LSH:
		m.a <<= v & 31
	case unix.BPF_RSH:
		m.a >>= v & 31
	case unix.BPF_NEG:
		m.a = -m.a
	default:
		return false
	}
	return true
}

// move loads and stores.
func (m *bpf) move(in unix.SockFilter) bool {
	switch in.Code & 7 {
	case unix.BPF_LD:
		return m.load(in, &m.a)
	case unix.BPF_LDX:
		return m.load(in, &m.x)
	case unix.BPF_MISC:
		if in.Code&unix.BPF_TXA != 0 {
			m.a = m.x
		} else {
			m.x = m.a
		}
		return true
	}
	if in.K >= uint32(len(m.mem)) {
		return false
	}
	m.mem[in.K] = m.a
	if in.Code&7 == unix.BPF_STX {
		m.mem[in.K] = m.x
	}
	return true
}

func (m *bpf) load(in unix.SockFilter, to *uint32) bool {
	switch in.Code & 0xe0 {
	case unix.BPF_IMM:
		*to = in.K
	case unix.BPF_LEN:
		*to = uint32(len(m.data))
	case unix.BPF_MEM:
		if in.K >= uint32(len(m.mem)) {
			return false
		}
		*to = m.mem[in.K]
	case unix.BPF_ABS:
		if in.K&3 != 0 || uint64(in.K)+4 > uint64(len(m.data)) {
			return false
		}
		*to = binary.NativeEndian.Uint32(m.data[in.K:])
	default:
		return false
	}
	return true
}
