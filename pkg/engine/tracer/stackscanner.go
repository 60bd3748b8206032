package tracer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrScan means that a thread's stack could not be scanned as a whole: it was not known before the
// stop, is too large, or is gone.
var ErrScan = errors.New("a thread's stack cannot be scanned")

// StackScanner looks for addresses in stopped threads: in their registers, and in all words on
// their stacks. What looks like an address counts as one, so that a return address is never missed,
// while an old value that nobody needs any more may be taken for one. Frames of signals are
// followed to the stacks that were interrupted.
type StackScanner struct {
	stacks []Range
	buf    *[scanStep]byte
	left   int
}

// Bounds of what is read of stacks: of one, and of all.
const (
	maxStackRead  = 256 << 20
	maxStacksRead = 1 << 30
	scanStep      = 64 << 10
)

// scanBuffers are touched, so that no page of them has to be made under the stop.
var scanBuffers = sync.Pool{New: func() any {
	var b [scanStep]byte
	for i := range b {
		b[i] = 1
	}
	return &b
}}

// NewStackScanner prepares for scanning, before the stop: stacks are the writable mappings of the
// process, in ascending order. Call Done after the last scan.
func NewStackScanner(stacks []Range) *StackScanner {
	return &StackScanner{stacks: stacks, buf: scanBuffers.Get().(*[scanStep]byte),
		left: maxStacksRead}
}

// Done gives the buffer back.
func (s *StackScanner) Done() { scanBuffers.Put(s.buf) }

// Scan calls hit with each word of a thread that is at least lo and less than hi, until that
// returns an error. pc reports whether the thread goes on there: it is the program counter, or that
// of what a signal interrupted. All others may be return addresses, pointers that were stored, or
// what calls that are over have left. The error is hit's, or an ErrScan. Words in a red zone, below
// the stack pointer, are no return addresses: below gets them, if it is not nil.
func (s *StackScanner) Scan(t *Tracee, th *Thread, lo, hi uint64, hit func(v uint64, pc bool) error,
	below func(v uint64)) error {
	within := func(v uint64, pc bool) error {
		if v < lo || v >= hi {
			return nil
		}
		return hit(v, pc)
	}
	for i, v := range th.regs.words() {
		if err := within(v, i == 0); err != nil {
			return err
		}
	}
	sp := th.SP()
	for range maxSignalStacks {
		other, err := s.scanStack(t, sp&^7, lo, hi, within, below)
		if err != nil || other == 0 {
			return err
		}
		sp = other
	}
	return fmt.Errorf("signals on stacks of their own: %w", ErrScan)
}

// maxSignalStacks bounds how many stacks one thread is on.
const maxSignalStacks = 8

// segmentRegisters is what the kernel writes into a signal's frame after program counter and flags.
// It marks the frame: three words before it is the stack pointer of what the signal interrupted,
// two before it the program counter.
const segmentRegisters = 0x002b_0000_0000_0033

// leafZone is the red zone: what a leaf function may use below its stack pointer.
const leafZone = 128

// scanStack looks through a thread's stack, from its red zone to the end of the mapping. If a
// signal's handler runs on a stack of its own, it returns where the one is that was interrupted.
func (s *StackScanner) scanStack(t *Tracee, sp, lo, hi uint64, hit func(v uint64, pc bool) error,
	below func(v uint64)) (interrupted uint64, err error) {
	i, _ := slices.BinarySearchFunc(s.stacks, sp, func(m Range, a uint64) int {
		if m.End <= a {
			return -1
		}
		return 1
	})
	if i == len(s.stacks) || sp < s.stacks[i].Start {
		return 0, fmt.Errorf("on one that was not there: %w", ErrScan)
	}
	begin, end := sp, s.stacks[i].End
	sp = max(sp-leafZone, s.stacks[i].Start)
	if end-sp > maxStackRead || end-sp > uint64(s.left) {
		return 0, fmt.Errorf("too large: %w", ErrScan)
	}
	s.left -= int(end - sp)
	var last [3]uint64
	for ; sp < end; sp += scanStep {
		b := s.buf[:min(scanStep, end-sp)]
		if _, err := t.mem.ReadAt(b, int64(sp)); err != nil {
			return 0, fmt.Errorf("%w: %w", ErrScan, err)
		}
		for at := sp; len(b) >= 8; at, b = at+8, b[8:] {
			v := binary.LittleEndian.Uint64(b)
			if at < begin {
				if below != nil && v >= lo && v < hi {
					below(v)
				}
				continue
			}
			if v == segmentRegisters {
				if (last[0] < begin || last[0] >= end) && last[0] != 0 {
					interrupted = last[0]
				}
				if err := hit(last[1], true); err != nil {
					return 0, err
				}
			}
			if v >= lo && v < hi {
				if err := hit(v, false); err != nil {
					return 0, err
				}
			}
			last[0], last[1], last[2] = last[1], last[2], v
		}
	}
	return interrupted, nil
}
