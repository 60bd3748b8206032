package hotpatch

import "encoding/binary"

// Landing pads are where the unwinder goes on in a function. They are in its language-specific data
// area (LSDA), relative to the function's beginning.

// maxLSDA bounds what is read of one.
const maxLSDA = 1 << 16

// padBetween reports whether the function at an address has a landing pad in between from and to,
// neither of them included.
func (f *Frames) padBetween(entry, from, to uint64) (bool, error) {
	at, first, err := f.lsda(entry)
	if err != nil || at == 0 {
		return false, err
	}
	size := uint64(maxLSDA)
	for size > 16 && !f.m.Contains(at, size) {
		size /= 2
	}
	b := make([]byte, size)
	if !f.m.Contains(at, size) {
		return false, ErrFrame
	}
	if err := f.m.Read(b, at); err != nil {
		return false, err
	}
	found, ok := padsIn(b, first, from, to)
	if !ok {
		return false, ErrFrame
	}
	return found, nil
}

// lsda returns where the LSDA of the function at an address is, 0 if it has none, and where the
// function begins.
func (f *Frames) lsda(entry uint64) (at, first uint64, err error) {
	fde, place, err := f.covering(entry)
	if err != nil || fde == nil {
		return 0, 0, err
	}
	cie, err := f.record(place+4-uint64(int64(int32(binary.LittleEndian.Uint32(fde[4:])))), maxCIE)
	if err != nil {
		return 0, 0, err
	}
	a, ok := parseAugmentation(cie)
	switch {
	case !ok || a.addresses != encPcrel4:
		return 0, 0, ErrFrame
	case a.handlers == encOmit:
		return 0, 0, nil
	}
	is, ok := firstPointer(fde[16:], a.handlers)
	if !ok || is && a.handlers != encPcrel4 && a.handlers&0x7f != 0 {
		return 0, 0, ErrFrame
	}
	if !is {
		return 0, 0, nil
	}
	const field = 17 // of the pointer, after the length of what it begins
	if a.handlers == encPcrel4 {
		at = place + field + distance(fde[field:])
	} else {
		at = binary.LittleEndian.Uint64(fde[field:])
	}
	return at, place + 8 + distance(fde[8:]), nil
}

// padsIn reports whether an LSDA has a landing pad in between from and to. Only the form that
// compilers write is understood.
func padsIn(b []byte, first, from, to uint64) (found, ok bool) {
	if len(b) < 4 || b[0] != encOmit { // the pads are relative to something else
		return false, false
	}
	types := b[1]
	b = b[2:]
	if ok = true; types != encOmit {
		b, ok = skipLEB(b, ok)
	}
	if !ok || len(b) == 0 || b[0] != 0x01 && b[0] != 0x03 {
		// numbers of variable length, or of four bytes
		return false, false
	}
	enc := b[0]
	size, b, ok := readLEB(b[1:], true)
	if !ok || size > uint64(len(b)) {
		return false, false
	}
	for b = b[:size]; len(b) > 0 && ok; {
		var pad uint64
		if enc == 0x01 {
			b, ok = skipLEB(b, ok)
			b, ok = skipLEB(b, ok)
			pad, b, ok = readLEB(b, ok)
		} else if ok = len(b) >= 12; ok {
			pad, b = uint64(binary.LittleEndian.Uint32(b[8:])), b[12:]
		}
		b, ok = skipLEB(b, ok)
		found = found || pad != 0 && first+pad > from && first+pad < to
	}
	return found, ok
}

// readLEB reads a number of variable length.
func readLEB(b []byte, ok bool) (n uint64, rest []byte, _ bool) {
	for i := range b {
		if i > 9 {
			break
		}
		n |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return n, b[i+1:], ok
		}
	}
	return 0, nil, false
}
