package hotpatch

import (
	"encoding/binary"
	"slices"
	"sort"
)

// Besides branches, there are other ways into the middle of a function: symbols, functions that the
// unwind information says begin there, handlers of exceptions, and pointers to code, wherever they
// come from.

// Why something may lead into the first bytes of a function, other than branches.
var (
	ErrSymbol error = &Error{Why: "another symbol is within its first bytes"}
	ErrFDE    error = &Error{Why: "another function begins within its first bytes, by the " +
		"unwind information"}
	ErrWithin error = &Error{Why: "it is in the middle of another function, by the unwind " +
		"information"}
	ErrPad     error = &Error{Why: "a handler of exceptions is within its first bytes"}
	ErrPointer error = &Error{Why: "a pointer or a jump table may lead into its first bytes"}
)

// bits is a set of addresses of the text.
type bits []uint64

func (b bits) set(i uint64)      { b[i/64] |= 1 << (i % 64) }
func (b bits) has(i uint64) bool { return i/64 < uint64(len(b)) && b[i/64]>>(i%64)&1 != 0 }

// isCode reports whether an address is in an executable segment of the library.
func (t *Text) isCode(at uint64) bool {
	if at-t.Addr < uint64(len(t.Code)) {
		return true
	}
	for _, o := range t.Others {
		if at-o.Addr < uint64(len(o.Bytes)) {
			return true
		}
	}
	return false
}

// isStart reports whether a function is known to begin at an address.
func (t *Text) isStart(at uint64) bool {
	if _, found := slices.BinarySearch(t.Symbols, at); found {
		return true
	}
	if t.Frames == nil {
		return false
	}
	_, found := t.Frames.find(at)
	return found
}

// nextStart returns the first address after another one at which something is known to begin.
func (t *Text) nextStart(after uint64) (at uint64, ok bool) {
	i, _ := slices.BinarySearch(t.Symbols, after+1)
	if ok = i < len(t.Symbols); ok {
		at = t.Symbols[i]
	}
	if t.Frames != nil {
		count := len(t.Frames.table) / 8
		i := sort.Search(count, func(i int) bool { return t.Frames.place(2*i) > after })
		if i < count && (!ok || t.Frames.place(2*i) < at) {
			at, ok = t.Frames.place(2*i), true
		}
	}
	return at, ok
}

// pointed reports whether something in the library may hold the address.
func (t *Text) pointed(at uint64) bool { return t.pointers == nil || t.pointers.has(at-t.Addr) }

// waysInto returns an error if there is a way in between from and to, neither of them included, of
// a function that begins at entry.
func (t *Text) waysInto(entry, from, to uint64) error {
	i, _ := slices.BinarySearch(t.Symbols, from+1)
	if i < len(t.Symbols) && t.Symbols[i] < to {
		return ErrSymbol
	}
	if t.unread {
		return ErrText
	}
	for i := from + 1; i < to; i++ {
		if t.pointers.has(i - t.Addr) {
			return ErrPointer
		}
	}
	if t.Frames == nil {
		return nil
	}
	if t.Frames.unusual {
		return ErrFrame
	}
	if t.Frames.spans(entry) {
		return ErrWithin
	}
	for i := from + 1; i < to; i++ {
		if _, found := t.Frames.find(i); found {
			return ErrFDE
		}
	}
	switch found, err := t.Frames.padBetween(entry, from, to); {
	case err != nil:
		return err
	case found:
		return ErrPad
	}
	return nil
}

// point notes that something holds an address, if that is in the text.
func (t *Text) point(at uint64) {
	if i := at - t.Addr; i < uint64(len(t.Code)) {
		t.pointers.set(i)
		t.held.set(i)
	}
}

// findPointers notes all addresses of the text that something in the library holds, or may make.
func (t *Text) findPointers() {
	t.pointers, t.held = make(bits, len(t.Code)/64+1), make(bits, len(t.Code)/64+1)
	for _, p := range t.Pointers {
		t.point(p)
	}
	if t.Loaded {
		for _, d := range t.Data {
			for b := d.Bytes; len(b) >= 8; b = b[8:] {
				t.point(binary.LittleEndian.Uint64(b))
			}
		}
	}
	steps := overlap*len(t.Code) + 1<<16
	take := func(at uint64) {
		t.point(at)
		if t.isCode(at) || steps < 0 {
			return
		}
		t.table(at, at, func(target uint64) bool {
			if i := target - t.Addr; i < uint64(len(t.Code)) {
				t.pointers.set(i)
			}
			steps--
			return steps >= 0
		})
	}
	t.taken(t.Code, t.Addr, take)
	for _, o := range t.Others {
		t.taken(o.Bytes, o.Addr, take)
	}
	t.unread = steps < 0
}

// taken calls take for what may be an address that an instruction takes, wherever one may begin:
// relative to itself, or, in a program that is not moved when it is loaded, as it is.
func (t *Text) taken(code []byte, addr uint64, take func(at uint64)) {
	for i := range positions(code, 0x8d) {
		if i+6 <= len(code) && code[i+1]&0xc7 == 0x05 { // lea
			take(addr + uint64(i+6) + distance(code[i+2:]))
		}
	}
	if !t.Fixed {
		return
	}
	for i := 0; i+4 <= len(code); i++ {
		t.point(uint64(binary.LittleEndian.Uint32(code[i:])))
	}
}
