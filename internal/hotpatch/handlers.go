package hotpatch

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// HandlersVersion changes when the same unwind information could get another answer than before.
const HandlersVersion = 1

// Why a function must keep its frame in sight of the unwinder.
var (
	// ErrHandlers: the function has a language-specific data area, by which exceptions and
	// cancellation find its handlers.
	ErrHandlers error = &Error{Why: "it handles exceptions or cancellation"}
	// ErrFrame: what the unwinder would find is not of the usual form.
	ErrFrame error = &Error{Why: "its unwind information is of an unusual form"}
)

// Sizes that are read, and encodings of pointers in unwind information.
const (
	maxCIE = 128
	maxFDE = 64
	// of what is there; the form for more than 4 GiB, which begins with ff ff ff ff, is left out
	maxRecord = 1 << 20

	encOmit    = 0xff
	encAligned = 0x50
	encPcrel4  = 0x1b // relative to itself, four bytes, signed: what assemblers use on x86_64
)

// Handlers reports whether the function at an address handles exceptions, or what ends a thread
// (pthread_cancel): the error is ErrHandlers, or ErrFrame if that cannot be told. nil: it does not,
// or no unwinder finds anything about it.
func (f *Frames) Handlers(entry uint64) error {
	fde, at, err := f.covering(entry)
	if err != nil || fde == nil {
		return err
	}
	cie, err := f.record(at+4-uint64(int64(int32(binary.LittleEndian.Uint32(fde[4:])))), maxCIE)
	if err != nil {
		return err
	}
	a, ok := parseAugmentation(cie)
	switch {
	case !ok || a.addresses != encPcrel4:
		return ErrFrame
	case a.handlers == encOmit:
		return nil
	}
	handlers, ok := firstPointer(fde[16:], a.handlers)
	switch {
	case !ok:
		return ErrFrame
	case handlers:
		return ErrHandlers
	}
	return nil
}

// AnyHandlers is Handlers of all functions.
func (f *Frames) AnyHandlers() error {
	for i := range len(f.table) / 8 {
		if err := f.Handlers(f.place(2 * i)); err != nil {
			return err
		}
	}
	return nil
}

// covering returns the FDE that an address belongs to, and where it is; nil if there is none.
func (f *Frames) covering(addr uint64) (fde []byte, at uint64, err error) {
	if f.unusual {
		return nil, 0, ErrFrame
	}
	i := sort.Search(len(f.table)/8, func(i int) bool { return f.place(2*i) > addr }) - 1
	if i < 0 {
		return nil, 0, nil
	}
	at = f.place(2*i + 1)
	if fde, err = f.record(at, maxFDE); err != nil {
		return nil, 0, err
	}
	first := f.place(2 * i)
	if at+8+uint64(int64(int32(binary.LittleEndian.Uint32(fde[8:])))) != first {
		return nil, 0, ErrFrame
	}
	if addr-first >= uint64(binary.LittleEndian.Uint32(fde[12:])) {
		return nil, 0, nil
	}
	return fde, at, nil
}

// record reads a CIE or FDE from its length on, at most so much of it. The error is ErrFrame if
// there is none.
func (f *Frames) record(at uint64, most int) ([]byte, error) {
	const least = 16 // lengths, distances, and what each of the two has after them
	var length [4]byte
	if !f.m.Contains(at, least) {
		return nil, ErrFrame
	}
	if err := f.m.Read(length[:], at); err != nil {
		return nil, err
	}
	n := 4 + uint64(binary.LittleEndian.Uint32(length[:]))
	if n < least || n > maxRecord {
		return nil, ErrFrame
	}
	b := make([]byte, min(n, uint64(most)))
	if !f.m.Contains(at, uint64(len(b))) {
		return nil, ErrFrame
	}
	return b, f.m.Read(b, at)
}

// augmentation is what a CIE says of the form of its FDEs.
type augmentation struct {
	addresses byte // encoding of their addresses
	handlers  byte // encoding of the pointer to what the language needs; encOmit if there is none
}

// parseAugmentation reads a CIE.
func parseAugmentation(cie []byte) (a augmentation, ok bool) {
	a = augmentation{handlers: encOmit} // and absolute addresses
	if id, version := binary.LittleEndian.Uint32(cie[4:]), cie[8]; id != 0 || version != 1 &&
		version != 3 {
		return a, false
	}
	letters, b, ok := bytes.Cut(cie[9:], []byte{0})
	for range 3 { // alignments of code and data, number of the return register: of no interest
		b, ok = skipLEB(b, ok)
	}
	if !ok || len(letters) == 0 {
		return a, ok
	}
	if letters[0] != 'z' { // "eh" of a time before x86_64
		return a, false
	}
	b, ok = skipLEB(b, true)
	for _, c := range letters[1:] {
		if c == 'S' || c == 'B' {
			continue
		}
		if !ok || len(b) == 0 {
			return a, false
		}
		enc := b[0]
		b = b[1:]
		switch c {
		case 'R':
			a.addresses = enc
		case 'L':
			a.handlers = enc
		case 'P': // of the personality, and itself
			size, known := pointerSize(enc)
			if !known || len(b) < size {
				return a, false
			}
			b = b[size:]
		default:
			return a, false
		}
	}
	return a, ok
}

// firstPointer reports whether an FDE's own data begin with a pointer that is not null.
func firstPointer(b []byte, enc byte) (is, ok bool) {
	size, known := pointerSize(enc)
	if !known || len(b) == 0 || int(b[0]) < size || b[0] >= 0x80 || len(b) <= size {
		return false, false
	}
	return len(bytes.Trim(b[1:1+size], "\x00")) > 0, true
}

// pointerSize returns the length of an encoded pointer. Those whose length depends on where or what
// they are are not known.
func pointerSize(enc byte) (size int, known bool) {
	if enc == encAligned || enc == encOmit {
		return 0, false
	}
	switch enc & 0x0f {
	case 0x00, 0x04, 0x0c:
		return 8, true
	case 0x02, 0x0a:
		return 2, true
	case 0x03, 0x0b:
		return 4, true
	}
	return 0, false
}

// skipLEB skips a number of variable length.
func skipLEB(b []byte, ok bool) (rest []byte, _ bool) {
	for i := range b {
		if b[i] < 0x80 {
			return b[i+1:], ok
		}
	}
	return nil, false
}
