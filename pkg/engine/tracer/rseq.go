package tracer

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rseqConfig is what PTRACE_GET_RSEQ_CONFIGURATION writes.
type rseqConfig struct {
	area             uint64
	size, sig, flags uint32
	_                uint32
}

// leaveRseq moves the program counter out of a restartable sequence (rseq(2)) to its abort handler, as any preemption
// may. The kernel forgets the sequence when it sees the thread elsewhere; brought back into the middle, the thread would
// complete it on stale data. Kernels before 5.13 do not tell, and what cannot be read is not a sequence.
func (t *Tracee) leaveRseq(tid int, r *Registers) {
	var c rseqConfig
	if ptracePointer(unix.PTRACE_GET_RSEQ_CONFIGURATION, tid, unsafe.Sizeof(c), unsafe.Pointer(&c)) != nil || c.area == 0 {
		return
	}
	var p [8]byte
	if stackRead(tid, c.area+8, p[:]) != nil { // rseq_cs, behind two CPU numbers
		return
	}
	descriptor := binary.LittleEndian.Uint64(p[:])
	var cs [32]byte // version and flags, start, length, abort handler
	if descriptor == 0 || stackRead(tid, descriptor, cs[:]) != nil {
		return
	}
	start, length := binary.LittleEndian.Uint64(cs[8:]), binary.LittleEndian.Uint64(cs[16:])
	if r.pc()-start < length {
		_ = r.setPC(binary.LittleEndian.Uint64(cs[24:]))
	}
}
