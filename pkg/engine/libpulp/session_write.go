package libpulp

import (
	"errors"
	"slices"
)

// carryOut makes the writes, all threads standing still. The order is such that a process whose
// engine is killed between any two of them runs each function wholly as before or wholly as wanted:
//
//  1. variables of the container, and the jumps before the entries of functions that do not lead
//     there yet: nothing runs or reads these;
//  2. the entries, and the jumps that are in use, one function after the other. One write is one
//     step for the kernel, as long as it is on one page; one that is not, of a jump in use, gets a
//     NOP at the entry first.
//
// If one fails, those before it are taken back.
func (s *Session) carryOut(writes []write) error { return carryOut(s.rd, s.write, writes) }

func carryOut(rd reader, put func(write) error, writes []write) error {
	steps, err := inOrder(rd, writes)
	if err != nil {
		return err
	}
	for i, st := range steps {
		if err = put(st.write); err == nil {
			continue
		}
		for _, done := range slices.Backward(steps[:i]) {
			if back := put(write{done.addr, done.was}); back != nil {
				return errors.Join(ErrUnfinished, err, back)
			}
		}
		return err
	}
	return nil
}

// step is a write, and what was there before it.
type step struct {
	write
	was []byte
}

// inOrder splits writes into steps, and puts these in order.
func inOrder(rd reader, writes []write) ([]step, error) {
	var first, last []step
	for _, w := range writes {
		was := make([]byte, len(w.data))
		if err := rd.read(was, w.addr); err != nil {
			return nil, err
		}
		whole := step{w, was}
		if !isDetour(w) {
			if len(w.data) == shortSize {
				last = append(last, whole)
			} else {
				first = append(first, whole)
			}
			continue
		}
		at := len(w.data) - shortSize
		jump, short := whole.part(0, jumpSize), whole.part(at, len(w.data))
		switch inUse := was[at] == 0xeb; {
		case !inUse:
			first, last = append(first, jump), append(last, short)
		case jump.addr/pageSize == (jump.addr+jumpSize-1)/pageSize:
			last = append(last, jump)
		default:
			nop := step{write{short.addr, nop2[:]}, short.was}
			last = append(last, nop, jump, step{short.write, nop2[:]})
		}
	}
	return append(first, last...), nil
}

// part returns the step for some of the bytes.
func (s step) part(from, to int) step {
	return step{write{s.addr + uint64(from), s.data[from:to]}, s.was[from:to]}
}

// isDetour reports whether a write makes a function jump elsewhere.
func isDetour(w write) bool {
	n := len(w.data)
	return (n == jumpSize+shortSize || n == jumpSize+landingSize+shortSize) &&
		[6]byte(w.data) == absolute && w.data[n-2] == 0xeb
}

// emptyQueue tells libpulp.so that its instructions have been carried out, or that they will not
// be.
func (s *Session) emptyQueue() error {
	if s.r.sym.queue == 0 {
		return nil
	}
	return s.write(write{s.r.sym.queue + 4, make([]byte, 8)})
}
