package hotpatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// Where handled puts things.
const (
	handledBase = 0x1000
	handledCIE  = handledBase + 12 + 8*3
	handledFDEs = handledCIE + 32
)

// handled makes the unwind information of three functions of 16 bytes at 0x2000, 0x2010 and 0x2040.
// Of these the first has no handlers, the second has some, and the third has a CIE that knows no
// handlers.
func handled() flat {
	const size = 28
	b := make([]byte, handledFDEs-handledBase+3*size+32)
	copy(b, []byte{1, 0x1b, encUdata4, encDataSdata4})
	put := func(at int, v uint64) { binary.LittleEndian.PutUint32(b[at-handledBase:], uint32(v)) }
	put(handledBase+8, 3)
	for i, f := range []struct {
		entry, handlers uint64
	}{{0x2000, 0}, {0x2010, 0x5000}, {0x2040, 0}} {
		fde := handledFDEs + size*i
		put(handledBase+12+8*i, f.entry-handledBase)
		put(handledBase+16+8*i, uint64(fde-handledBase))
		put(fde, size-4)
		put(fde+4, uint64(fde+4-handledCIE))
		put(fde+8, f.entry-uint64(fde)-8)
		put(fde+12, 16)
		b[fde+16-handledBase] = 4
		put(fde+17, f.handlers)
	}
	put(handledCIE, 28)
	copy(b[handledCIE+8-handledBase:], "\x01zPLR\x00\x01\x78\x10\x07\x9b\x11\x22\x33\x44\x1b\x1b")
	plain := handledFDEs + 3*size
	put(plain, 28)
	copy(b[plain+8-handledBase:], "\x01zR\x00\x01\x78\x10\x01\x1b")
	third := handledFDEs + 2*size
	put(third+4, uint64(third+4-plain)) // a CIE may stand after
	return flat{handledBase, b}
}

func TestHandlers(t *testing.T) {
	ask := func(m flat, at uint64) error {
		t.Helper()
		f, err := ReadFrames(m, m.addr, 36)
		if err != nil {
			t.Fatal(err)
		}
		return f.Handlers(at)
	}
	for at, want := range map[uint64]error{0x1fff: nil, 0x2000: nil, 0x2010: ErrHandlers,
		0x201f: ErrHandlers, 0x2020: nil, 0x2040: nil, 0x3000: nil} {
		if err := ask(handled(), at); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%#x: %v, want %v", at, err, want)
		}
	}
	for name, tc := range map[string]struct {
		at     int
		bytes  string
		want   error
		second error // of the function with handlers
	}{
		"a table of another form": {3, "\x00", ErrFrame, ErrFrame},
		"more rows than there is": {8, "\x09", ErrFrame, ErrFrame},
		"CIE elsewhere": {handledFDEs + 28 + 4 - handledBase, "\xff\xff\xff\x7f", nil,
			ErrFrame},
		"an FDE of another": {handledFDEs + 28 + 8 - handledBase, "\x00", nil, ErrFrame},
		"an FDE of 64 bits": {handledFDEs + 28 - handledBase, "\xff\xff\xff\xff", nil,
			ErrFrame},
		"a short FDE": {handledFDEs + 28 - handledBase, "\x04\x00\x00\x00", nil,
			ErrFrame},
		"no data in the FDE":     {handledFDEs + 28 + 16 - handledBase, "\x00", nil, ErrFrame},
		"data longer than known": {handledFDEs + 28 + 16 - handledBase, "\x84", nil, ErrFrame},
		"not a CIE":              {handledCIE + 4 - handledBase, "\x01", ErrFrame, ErrFrame},
		"another version":        {handledCIE + 8 - handledBase, "\x04", ErrFrame, ErrFrame},
		"eh":                     {handledCIE + 9 - handledBase, "eh\x00", ErrFrame, ErrFrame},
		"a letter that is not":   {handledCIE + 9 - handledBase, "zQLR", ErrFrame, ErrFrame},
		"letters without an end": {handledCIE + 9 - handledBase, "zRSSSSSSSSSSSSSSSSSSSSSSSSS",
			ErrFrame, ErrFrame},
		"signal frames": {handledCIE + 9 - handledBase,
			"zSLR\x00\x01\x78\x10\x02\x1b\x1b", nil, ErrHandlers},
		"no handlers": {handledCIE + 9 - handledBase, "zR\x00\x01\x78\x10\x01\x1b",
			nil, nil},
		"handlers left out": {handledCIE + 9 - handledBase,
			"zLR\x00\x01\x78\x10\x02\xff\x1b", nil, nil},
		"handlers of two bytes": {handledCIE + 9 - handledBase,
			"zLR\x00\x01\x78\x10\x02\x02\x1b", nil, ErrHandlers},
		"handlers of eight": {handledCIE + 9 - handledBase,
			"zLR\x00\x01\x78\x10\x02\x04\x1b", ErrFrame, ErrFrame},
		"handlers of any size": {handledCIE + 9 - handledBase,
			"zLR\x00\x01\x78\x10\x02\x01\x1b", ErrFrame, ErrFrame},
		"aligned": {handledCIE + 9 - handledBase,
			"zLR\x00\x01\x78\x10\x02\x50\x1b", ErrFrame, ErrFrame},
		"personality of any size": {handledCIE + 9 - handledBase, "zPLR\x00\x01\x78\x10\x07\x01",
			ErrFrame, ErrFrame},
		"personality without room": {handledCIE - handledBase, "\x14", ErrFrame, ErrFrame},
		"absolute addresses": {handledCIE + 9 - handledBase, "zL\x00\x01\x78\x10\x01\x1b",
			ErrFrame, ErrFrame},
		"a number without an end": {handledCIE + 9 - handledBase,
			"z\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
			ErrFrame, ErrFrame},
		"nothing but the addresses": {handledCIE + 9 - handledBase, "\x00\x01\x78\x10", ErrFrame,
			ErrFrame},
	} {
		m := handled()
		copy(m.data[tc.at:], tc.bytes)
		if first, second := ask(m, 0x2000), ask(m, 0x2010); !errors.Is(first, tc.want) ||
			!errors.Is(second, tc.second) {
			t.Errorf("%s: %v and %v, want %v and %v", name, first, second, tc.want, tc.second)
		}
	}
	m := handled()
	for n := range len(m.data) { // cut off anywhere
		f, err := ReadFrames(flat{m.addr, m.data[:n]}, m.addr, uint64(min(n, 36)))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Handlers(0x2010); n > 0 && n < handledFDEs+28+21-handledBase &&
			!errors.Is(err, ErrFrame) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestAnyHandlers: one function that has some is enough.
func TestAnyHandlers(t *testing.T) {
	for _, withHandlers := range []bool{true, false} {
		m := handled()
		if !withHandlers {
			copy(m.data[handledFDEs+28+17-handledBase:], make([]byte, 4))
		}
		f, err := ReadFrames(m, m.addr, 36)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.AnyHandlers(); errors.Is(err, ErrHandlers) != withHandlers || err != nil &&
			!withHandlers {
			t.Errorf("%t: %v", withHandlers, err)
		}
	}
}

// FuzzHandlers: any bytes as unwind information; nothing outside of it is read, and there is an
// answer.
func FuzzHandlers(f *testing.F) {
	f.Add(handled().data, uint64(36), uint64(0x2010))
	f.Add(bytes.Replace(handled().data, []byte("zPLR"), []byte("zSLR"), 1), uint64(36),
		uint64(0x2000))
	f.Fuzz(func(t *testing.T, data []byte, size, entry uint64) {
		m := flat{handledBase, data}
		table, err := ReadFrames(m, m.addr, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.Handlers(entry); !slices.Contains([]error{nil, ErrHandlers, ErrFrame},
			err) {
			t.Fatal(err)
		}
		if err := table.AnyHandlers(); !slices.Contains([]error{nil, ErrHandlers, ErrFrame}, err) {
			t.Fatal(err)
		}
	})
}
