package hotpatch

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// A branch from elsewhere into the first bytes of a function is looked for in all code of its
// library.
//
// Those with distances of 32 bits may come from anywhere, and are looked for wherever an
// instruction may begin. Short ones can only come from the neighbourhood, and would be found
// everywhere like this. So if something looks like a branch the function that it is in is decoded,
// from where the unwind information says that it begins; what is no function, or cannot be decoded,
// is searched byte by byte.

// Code is an executable segment, as it is mapped.
type Code struct {
	Bytes []byte
	Addr  uint64
}

// Text is the executable segment that functions are in, with what else of the library may lead
// there.
type Text struct {
	Code   []byte
	Addr   uint64
	Frames *Frames // of the library; nil: nothing is known of where functions begin
	Others []Code  // the library's other executable segments; mostly none

	Data     []Code   // those that are not executable, as far as they come from the file
	Symbols  []uint64 // addresses of all symbols, ascending
	Pointers []uint64 // addresses that the loader writes somewhere
	Loaded   bool     // Data has the addresses that the loader has written
	// the library is where its file says, so that there can be addresses of four bytes in its code
	Fixed bool

	targets  bits // a branch with a distance of 32 bits leads there. Nil before Index
	pointers bits // something holds the address, or a table of distances may lead there
	held     bits // something holds the address
	unread   bool // there are too many tables
	left     int  // bytes that may still be decoded, after Index
	calls    []nearCall
	callers  int // calls that have been looked at
}

// overlap bounds what is decoded for all functions of a text together, as a multiple of its size.
// It is less than once if functions do not overlap; hostile ones may.
const overlap = 16

// shortReach is the most that a short branch is away from where it leads to, and its own length.
const shortReach = 1<<7 + 2

// Index looks at all of the library once, for [Text.Entry] of many functions.
func (t *Text) Index() {
	t.targets, t.left = make(bits, len(t.Code)/64+1), overlap*len(t.Code)
	for _, c := range append([]Code{{t.Code, t.Addr}}, t.Others...) {
		for _, first := range []byte{0x0f, 0xc7, 0xe8, 0xe9} {
			for i := range positions(c.Bytes, first) {
				if to, ok := nearTarget(c.Bytes, i); ok && c.Addr+to-t.Addr < uint64(len(t.Code)) {
					t.targets.set(c.Addr + to - t.Addr)
					if first == 0xe8 && c.Addr == t.Addr {
						t.called(i, to)
					}
				}
			}
		}
	}
	t.findPointers()
}

// positions yields where in code a byte is. This is what most of the time goes into, and package
// bytes looks at many at once.
func positions(code []byte, b byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for from := 0; ; from++ {
			n := bytes.IndexByte(code[from:], b)
			if n < 0 || !yield(from+n) {
				return
			}
			from += n
		}
	}
}

// inside is a range of addresses.
type inside struct{ from, to uint64 }

func (r inside) has(at uint64) bool { return at >= r.from && at < r.to }

// EntersAt finds a branch that leads between from and to, which are in the text, neither of them
// included.
func (t *Text) EntersAt(from, to uint64) (at uint64, found bool, err error) {
	return t.entersAt(from, to, inside{})
}

// entersAt is EntersAt, but for branches of a function that has been looked at.
func (t *Text) entersAt(from, to uint64, known inside) (at uint64, found bool, err error) {
	note := func(a, target uint64) bool {
		if target > from && target < to && !known.has(a) {
			at, found = a, true
		}
		return !found
	}
	near := t.targets == nil
	for i := from + 1; i < to && !near; i++ {
		near = t.targets.has(i - t.Addr)
	}
	if near {
		if at, found, err = t.nearInto(from, to, known); found || err != nil {
			return at, found, err
		}
	}
	for _, o := range t.Others { // right in front or after it
		lo, hi := max(from-min(from, shortReach), o.Addr),
			min(to+shortReach, o.Addr+uint64(len(o.Bytes)))
		if lo < hi {
			anywhere(o.Bytes[lo-o.Addr:hi-o.Addr], lo, note)
		}
	}
	if found {
		return at, true, nil
	}
	lo, hi := max(from, t.Addr+shortReach)-shortReach,
		min(to+shortReach, t.Addr+uint64(len(t.Code)))
	if lo >= hi {
		return 0, false, nil
	}
	if t.anywhere(lo, hi, note); !found {
		return 0, false, nil // as usual
	}
	found = false
	err = t.short(lo, hi, note)
	return at, found, err
}

// nearInto finds a branch with a distance of 32 bits. What looks like one may be a part of an
// instruction: that is known where the function that it is in can be decoded.
func (t *Text) nearInto(from, to uint64, known inside) (at uint64, found bool, err error) {
	if t.targets != nil {
		if t.left -= len(t.Code) / 8; t.left < 0 {
			return from, true, nil
		}
	}
	t.near(func(a, target uint64) bool {
		if target > from && target < to && !known.has(a) {
			if found, err = t.branches(a, func(_ flow, into uint64) bool {
				return into > from && into < to
			}); found {
				at = a
			}
		}
		return !found && err == nil
	})
	return at, found, err
}

// branches reports whether the function around an address has a branch that is one of those. If
// there is none that can be decoded, it may.
func (t *Text) branches(at uint64, is func(in flow, target uint64) bool) (bool, error) {
	if t.Frames == nil {
		return true, nil
	}
	found := true
	err := t.Frames.functions(at, at+1, func(entry, size uint64) {
		if entry < t.Addr || size > MaxFunction || entry-t.Addr+size > uint64(len(t.Code)) {
			return
		}
		leads := false
		if t.decoded(t.Code[entry-t.Addr:][:size], func(in *instruction) {
			leads = leads || is(in.flow, entry+uint64(int64(in.target)))
		}) {
			found = leads
		}
	})
	return found, err
}

// near notes all branches with distances of 32 bits, wherever an instruction may begin, until note
// returns false.
func (t *Text) near(note func(from, to uint64) bool) {
	if !near(t.Code, t.Addr, note) {
		return
	}
	for _, o := range t.Others {
		if !near(o.Bytes, o.Addr, note) {
			return
		}
	}
}

// nearTarget returns how far from the beginning of code a branch with a distance of 32 bits leads,
// if one may begin at i.
func nearTarget(code []byte, i int) (to uint64, ok bool) {
	if len(code)-i < NearLen {
		return 0, false
	}
	at := i + 1
	switch c := code[i]; {
	case c&0xfe == 0xe8: // call, jmp
	case (c == 0x0f && code[i+1]&0xf0 == 0x80 || c == 0xc7 && code[i+1] == 0xf8) &&
		i+NearLen < len(code): // jcc, xbegin
		at++
	default:
		return 0, false
	}
	return uint64(at+4) + uint64(int64(int32(binary.LittleEndian.Uint32(code[at:])))), true
}

// near reports whether note wants more.
func near(code []byte, addr uint64, note func(from, to uint64) bool) bool {
	for i := range code {
		if to, ok := nearTarget(code, i); ok && !note(addr+uint64(i), addr+to) {
			return false
		}
	}
	return true
}

// short notes all short branches in [lo, hi).
func (t *Text) short(lo, hi uint64, note func(from, to uint64) bool) error {
	at := lo
	if t.Frames != nil {
		err := t.Frames.functions(lo, hi, func(entry, size uint64) {
			if entry < t.Addr || size > MaxFunction || entry-t.Addr+size > uint64(len(t.Code)) {
				return // searched byte by byte
			}
			if at < entry {
				t.anywhere(at, entry, note)
			}
			if !t.decoded(t.Code[entry-t.Addr:][:size], func(in *instruction) {
				note(entry+uint64(in.off), entry+uint64(int64(in.target)))
			}) {
				t.anywhere(max(at, entry), entry+size, note)
			}
			at = entry + size
		})
		if err != nil {
			return err
		}
	}
	if at < hi {
		t.anywhere(at, hi, note)
	}
	return nil
}

// decoded calls yield for the branches of a function. ok is false if it cannot be decoded, or too
// much has been; then it may have been called for some.
func (t *Text) decoded(code []byte, yield func(*instruction)) (ok bool) {
	if t.targets != nil {
		if t.left -= len(code); t.left < 0 {
			return false
		}
	}
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" {
			return false
		}
		if in.leads() {
			yield(&in)
		}
		off += in.size
	}
	return true
}

// anywhere notes what may be short branches, wherever an instruction may begin in [lo, hi).
func (t *Text) anywhere(lo, hi uint64, note func(from, to uint64) bool) {
	anywhere(t.Code[lo-t.Addr:min(hi-t.Addr, uint64(len(t.Code)))], lo, note)
}

func anywhere(code []byte, addr uint64, note func(from, to uint64) bool) {
	for i := 0; i+1 < len(code); i++ {
		if c := code[i]; c&0xf0 == 0x70 || c&0xfc == 0xe0 || c == 0xeb { // jcc, loop and jrcxz, jmp
			note(addr+uint64(i), addr+uint64(i)+2+uint64(int64(int8(code[i+1]))))
		}
	}
}
