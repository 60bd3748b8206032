package pulp

import (
	"errors"
	"slices"
)

// carryOut makes the writes, all threads standing still. The order is such that a process whose engine is killed between
// any two of them runs each function wholly as before or wholly as wanted:
//
//  1. variables of the container, and the jumps before the entries of functions that do not lead there yet: nothing runs
//     or reads these;
//  2. the entries, and the jumps that are in use, one function after the other. One write is one step for the kernel, as
//     long as it is on one page; one that is not, of a jump in use, gets a NOP at the entry first.
//
// If one fails, those before it are taken back.
func (s *Session) carryOut(writes []write) error { return carryOut(s.rd, s.write, writes) }

func carryOut(rd reader, put func(write) error, writes []write) error {
	steps, err := inOrder(rd, writes)
	if err != nil {
		return err
	}
	var saved []write
	for _, w := range steps {
		old := write{w.addr, make([]byte, len(w.data))}
		if err = rd.read(old.data, w.addr); err == nil {
			saved = append(saved, old)
			err = put(w)
		}
		if err != nil {
			break
		}
	}
	if err == nil {
		return nil
	}
	for _, w := range slices.Backward(saved) {
		if back := put(w); back != nil {
			return errors.Join(ErrUnfinished, err, back)
		}
	}
	return err
}

// inOrder splits writes into steps, and puts these in order.
func inOrder(rd reader, writes []write) ([]write, error) {
	var first, last []write
	for _, w := range writes {
		if !isDetour(w) {
			if len(w.data) == shortSize {
				last = append(last, w)
			} else {
				first = append(first, w)
			}
			continue
		}
		at := len(w.data) - shortSize
		jump, short := write{w.addr, w.data[:jumpSize]}, write{w.addr + uint64(at), w.data[at:]}
		now := make([]byte, shortSize)
		if err := rd.read(now, short.addr); err != nil {
			return nil, err
		}
		switch inUse := now[0] == 0xeb; {
		case !inUse:
			first, last = append(first, jump), append(last, short)
		case jump.addr/pageSize == (jump.addr+jumpSize-1)/pageSize:
			last = append(last, jump)
		default:
			last = append(last, write{short.addr, nop2[:]}, jump, short)
		}
	}
	return append(first, last...), nil
}

// isDetour says whether a write makes a function jump elsewhere.
func isDetour(w write) bool {
	n := len(w.data)
	return (n == jumpSize+shortSize || n == jumpSize+landingSize+shortSize) && [6]byte(w.data) == absolute && w.data[n-2] == 0xeb
}

// emptyQueue tells libpulp.so that its instructions have been carried out, or that they will not be.
func (s *Session) emptyQueue() error {
	if s.r.sym.queue == 0 {
		return nil
	}
	return s.write(write{s.r.sym.queue + 4, make([]byte, 8)})
}
