package tracer

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// excursion is the time in which a thread runs something for the tracer, and what restores it after
// that.
type excursion struct {
	regs      Registers // its own
	ownMask   uint64    // its own
	xstate    []byte    // its own, to be restored by us: nil if what ran cannot have changed it
	sigframe  sigframe  // its own way, should we die
	area      frameArea // where the sigframe is
	entered   bool      // stands at the entry of a system call
	submitted bool      // was left to come back by itself
	first     Registers // before the first of its calls, if they are made in one go
	blocked   uint64    // signals blocked on the way
}

// sigframe is the way back, as bytes for the target's memory.
type sigframe struct {
	base    uint64 // where data goes
	data    []byte
	uc      uint64 // stack pointer with which rt_sigreturn finds the registers
	call    uint64 // stack pointer at which a function is entered
	value   uint64 // where a function's result will be
	slots   []int  // offsets in data of words that the thread writes
	scratch *scratch
}

// visibleMask is the signal mask that the kernel shows during the excursion.
func (ex *excursion) visibleMask() uint64 {
	return ex.blocked &^ unblockable
}

// unblockable are the signals that no mask of the kernel's has.
const unblockable = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)

// pages returns a sigframe as whole pages up to the end of its area, with a header.
func (ex *excursion) pages(room *scratch) (at uint64, b []byte) {
	f := &ex.sigframe
	at = ex.lowest()
	b = room.take(int(ex.area.End - at))
	copy(b[f.base-at:], f.data)
	if len(f.slots) > blockSlots {
		return at, b
	}
	copy(b, blockMagic)
	binary.LittleEndian.PutUint32(b[16:], uint32(uint64(len(b))/pageSize))
	binary.LittleEndian.PutUint32(b[20:], uint32(len(f.slots)))
	for i, slot := range f.slots {
		binary.LittleEndian.PutUint16(b[blockHeader+2*i:], uint16((f.base-at+uint64(slot))/8))
	}
	binary.LittleEndian.PutUint64(b[24:], blockSum(b))
	return at, b
}

// lowest is where the block begins.
func (ex *excursion) lowest() uint64 { return (ex.sigframe.base - blockRoom) &^ (pageSize - 1) }

// prepend puts data below the sigframe, at an address that is a multiple of 16.
func (f *sigframe) prepend(data []byte) {
	base := (f.base - uint64(len(data))) &^ 15
	b := f.scratch.take(int(f.base-base) + len(f.data))
	copy(b, data)
	copy(b[f.base-base:], f.data)
	f.data, f.base = b, base
}
