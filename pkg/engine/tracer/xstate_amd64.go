package tracer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Places in the XSAVE area, in its standard format, and what the kernel writes into and after it
// for a signal frame.
const (
	xsaveLegacy = 512
	xsaveHeader = 64
	xsaveMost   = 16 << 10 // with AMX it is 11 KiB
	// in the legacy area, unused by the processor: magic, size with end mark, features, size
	xsaveSoft   = 464
	xsaveMagic1 = 0x46505853
	xsaveMagic2 = 0x46505845 // end mark
	xsaveAlign  = 64
)

func cpuid(leaf, sub uint32) (a, b, c, d uint32)

// componentEnds are where the components of the XSAVE area end. In a virtual machine the
// instruction that tells is slow.
var componentEnds = sync.OnceValue(func() (ends [64]int) {
	for i := 2; i < 63; i++ {
		length, offset, _, _ := cpuid(0xd, uint32(i))
		ends[i] = int(offset) + int(length)
	}
	return ends
})

// warmUp does what takes time, once, before anything is stopped.
func warmUp() { componentEnds() }

// readXstate reads a thread's x87, SSE, AVX, AVX-512 ... registers; b is room for them, of
// xsaveMost bytes.
func readXstate(tid int, b []byte) ([]byte, error) {
	n, err := regset(unix.PTRACE_GETREGSET, tid, unix.NT_X86_XSTATE, b)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		err = ErrUnsupported // a processor without XSAVE
	}
	if err != nil {
		return nil, fmt.Errorf("extended registers: %w", err)
	}
	if n < xsaveLegacy+xsaveHeader {
		return nil, fmt.Errorf("extended registers of %d bytes: %w", n, ErrUnsupported)
	}
	return b[:n], nil
}

// signalXstate makes of a thread's extended registers what rt_sigreturn restores. It holds the
// components in use and no more: the kernel takes an area that is larger than the thread's own (AMX
// not asked for) for one with x87 and SSE only, and it sets components that are not in it to their
// initial state, in which they are.
func signalXstate(x []byte, room *scratch) ([]byte, error) {
	inUse := binary.LittleEndian.Uint64(x[xsaveLegacy:]) | 3
	size := xsaveLegacy + xsaveHeader
	for i := 2; i < 63; i++ {
		if inUse>>i&1 == 0 {
			continue
		}
		size = max(size, componentEnds()[i])
	}
	if size > len(x) {
		return nil, fmt.Errorf("extended registers of %d bytes, %d in use: %w", len(x), size,
			ErrUnsupported)
	}
	b := room.take(size + 4)
	copy(b, x[:size])
	clear(b[xsaveSoft:xsaveLegacy])
	le := binary.LittleEndian
	le.PutUint32(b[xsaveSoft:], xsaveMagic1)
	le.PutUint32(b[xsaveSoft+4:], uint32(size)+4)
	le.PutUint64(b[xsaveSoft+8:], inUse)
	le.PutUint32(b[xsaveSoft+16:], uint32(size))
	le.PutUint32(b[size:], xsaveMagic2)
	return b, nil
}

// restoreXstate gives a thread its extended registers back.
func restoreXstate(tid int, x []byte) error {
	_, err := regset(unix.PTRACE_SETREGSET, tid, unix.NT_X86_XSTATE, x)
	return err
}

// shadowStack reports whether the thread has one: rt_sigreturn would need a token on it.
func shadowStack(tid int) bool {
	var ssp [8]byte
	_, err := regset(unix.PTRACE_GETREGSET, tid, unix.NT_X86_SHSTK, ssp[:])
	return err == nil
}

// entersFunctions reports whether extended registers are as the ABI has them where a function is
// entered: x87 and SSE round and mask as usual, and the x87 stack is empty. Vector registers may
// hold anything there.
func entersFunctions(x []byte) bool {
	const flags = 0x3f // of MXCSR, which nobody preserves
	le := binary.LittleEndian
	return le.Uint16(x) == initialCW && x[4] == 0 && le.Uint32(x[24:])&^flags == initialMXCSR
}

// What the x87 control word and MXCSR are when a program starts.
const (
	initialCW    = 0x37f
	initialMXCSR = 0x1f80
)

// initialXstate returns the extended registers with which a function starts: initial ones, as in a
// signal handler, but with the thread's rights to its protection keys.
func initialXstate(x []byte) []byte {
	const protectionKeys = 1 << 9
	b := append([]byte(nil), x...)
	le := binary.LittleEndian
	clear(b[:xsaveSoft])
	le.PutUint16(b, initialCW)
	le.PutUint32(b[24:], initialMXCSR)
	// 3: what has just been written
	le.PutUint64(b[xsaveLegacy:], le.Uint64(b[xsaveLegacy:])&protectionKeys|3)
	return b
}
