package hotpatch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// branchTo is a call (e8), jump (e9) or conditional jump (0f 85) at an address to another.
func branchTo(from, to uint64, opcode ...byte) []byte {
	return binary.LittleEndian.AppendUint32(opcode, uint32(to-from-uint64(len(opcode))-4))
}

// enters is EntersAt, with an index and without.
func enters(t *testing.T, text Text, from, to uint64) (uint64, bool) {
	t.Helper()
	at, found, err := text.EntersAt(from, to)
	if err != nil {
		t.Fatal(err)
	}
	text.Index()
	if _, again, err := text.EntersAt(from, to); err != nil || again != found {
		t.Errorf("%t, with an index %t, %v", found, again, err)
	}
	return at, found
}

// TestEntersAt finds branches into the middle of what a jump replaces.
func TestEntersAt(t *testing.T) {
	const base, function = 0x400000, 0x400400
	for name, tc := range map[string]struct {
		branch []byte
		want   bool
	}{
		"jump into it":           {branchTo(base+1, function+1, 0xe9), true},
		"call of its last byte":  {branchTo(base+1, function+4, 0xe8), true},
		"conditional jump":       {branchTo(base+1, function+2, 0x0f, 0x85), true},
		"xbegin":                 {branchTo(base+1, function+2, 0xc7, 0xf8), true},
		"call of the function":   {branchTo(base+1, function, 0xe8), false},
		"behind it":              {branchTo(base+1, function+5, 0xe9), false},
		"far away":               {branchTo(base+1, function+1<<30, 0xe9), false},
		"cut off at the end":     {[]byte{0xe9, 0, 0}, false},
		"conditional at the end": {[]byte{0x0f, 0x85, 0, 0, 0}, false},
	} {
		code := append([]byte{0x90}, tc.branch...)
		if !bytes.HasSuffix([]byte(name), []byte("end")) {
			code = append(code, make([]byte, 0x800)...)
		}
		at, found := enters(t, Text{Code: code, Addr: base}, function, function+5)
		if found != tc.want || found && at != base+1 {
			t.Errorf("%s: EntersAt = %#x, %t", name, at, found)
		}
	}
}

// TestShortBranches: short ones count where an instruction begins; that is known of functions, and
// of nothing else.
func TestShortBranches(t *testing.T) {
	const base, neighbour, function = 0x1000, 0x1200, 0x1210
	for name, tc := range map[string]struct {
		code string // of the neighbour, of 16 bytes
		size uint64 // that the unwind information says
		want bool
	}{
		"jump into it":              {"\xeb\x0f", 16, true},
		"conditional jump":          {"\x90\x74\x0f", 16, true},
		"loop":                      {"\xe2\x0f", 16, true},
		"jump to the function":      {"\xeb\x0e", 16, false},
		"jump behind it":            {"\xeb\x13", 16, false},
		"a number like a jump":      {"\xb8\xeb\x0e\x00\x00", 16, false},
		"a number, not a function":  {"\xb8\xeb\x0e\x00\x00", 0, true},
		"a number, cannot be known": {"\xb8\xeb\x0e\x00\x00\x06", 16, true},
		"padding":                   {"\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00\xcc", 0, false},
	} {
		code := bytes.Repeat([]byte{0x90}, 0x400)
		copy(code[neighbour-base:], tc.code)
		m := oneFrame(neighbour, tc.size)
		frames, err := ReadFrames(m, m.addr, 20)
		if err != nil {
			t.Fatal(err)
		}
		at, found := enters(t, Text{Code: code, Addr: base, Frames: frames}, function, function+5)
		if found != tc.want || found && (at < neighbour || at >= function) {
			t.Errorf("%s: EntersAt = %#x, %t", name, at, found)
		}
	}
}

// TestOtherSegments has branches in other segments: right in front, right after, and far away.
func TestOtherSegments(t *testing.T) {
	const base, function = 0x2000, 0x2000
	fill := func(addr uint64, at uint64, code ...byte) Code {
		b := bytes.Repeat([]byte{0x90}, 0x1000)
		copy(b[at-addr:], code)
		return Code{b, addr}
	}
	for name, tc := range map[string]struct {
		other Code
		want  bool
	}{
		"short, in front": {fill(0x1000, 0x1ffe, 0xeb, 2), true},
		"short, to it":    {fill(0x1000, 0x1ffe, 0xeb, 0), false},
		"far, into it": {fill(0x90000, 0x90100, branchTo(0x90100, function+3, 0xe9)...),
			true},
		"far, to it": {fill(0x90000, 0x90100, branchTo(0x90100, function, 0xe8)...),
			false},
		"short, not in reach": {fill(0x90000, 0x90000, 0xeb, 2), false},
	} {
		text := Text{Code: bytes.Repeat([]byte{0x90}, 0x1000), Addr: base, Others: []Code{tc.other}}
		if at, found := enters(t, text, function, function+5); found != tc.want || found &&
			(at < tc.other.Addr || at >= tc.other.Addr+0x1000) {
			t.Errorf("%s: %#x, %t", name, at, found)
		}
	}
}

// TestOverlap: what is decoded for all functions of a text is bounded; afterwards bytes are
// searched.
func TestOverlap(t *testing.T) {
	code := bytes.Repeat([]byte{0x90}, 0x400)
	copy(code[0x200:], "\xb8\xeb\x0e\x00\x00") // like a jump to 0x1211
	m := oneFrame(0x1100, 0x110)
	frames, err := ReadFrames(m, m.addr, 20)
	if err != nil {
		t.Fatal(err)
	}
	text := Text{Code: code, Addr: 0x1000, Frames: frames}
	text.Index()
	for n := range 1000 {
		if _, found, err := text.EntersAt(0x1210, 0x1215); err != nil || found {
			if n < 10 || err != nil {
				t.Errorf("after %d times: %v", n, err)
			}
			return
		}
	}
	t.Error("no bound")
}

// oneFrame makes the table of one function, in memory at 0x8000.
func oneFrame(entry, size uint64) flat {
	const base = 0x8000
	b := make([]byte, 20+16)
	copy(b, []byte{1, 0x1b, encUdata4, encDataSdata4})
	put := func(off int, v uint64) { binary.LittleEndian.PutUint32(b[off:], uint32(v)) }
	put(8, 1)
	put(12, entry-base)
	put(16, 20)
	put(28, entry-(base+20)-8)
	put(32, size)
	return flat{base, b}
}

func TestHasNOPs(t *testing.T) {
	window := func(before, at string) []byte {
		return append(append([]byte(before), at...), make([]byte, Window)...)
	}
	fourteen := string(nops)
	for name, tc := range map[string]struct {
		window []byte
		want   bool
	}{
		"two NOPs":          {window(fourteen, "\x90\x90"), true},
		"one NOP":           {window(fourteen, "\x66\x90"), true},
		"behind endbr64":    {window(fourteen, "\xf3\x0f\x1e\xfa\x90\x90"), true},
		"none at the entry": {window(fourteen, "\x55\x90"), false},
		"one at the entry":  {window(fourteen, "\x90\x55"), false},
		"thirteen before":   {window("\x55"+fourteen[1:], "\x90\x90"), false},
		"long NOPs before": {
			window("\x66\x0f\x1f\x84\x00\x00\x00\x00\x00\x0f\x1f\x44\x00\x00", "\x90\x90"), false},
		"at the end of the memory": {window(fourteen, "\x90\x90")[:Window-1], false},
	} {
		if got := HasNOPs(tc.window); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// FuzzEntry: any bytes as a function. What is accepted is whole instructions, which can be moved.
func FuzzEntry(f *testing.F) {
	f.Add([]byte{0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xc9, 0xc3}, uint64(0x401000))
	f.Add([]byte{0xf3, 0x0f, 0x1e, 0xfa, 0x8b, 0x05, 1, 0, 0, 0, 0xc3}, uint64(0x401ffe))
	f.Fuzz(func(t *testing.T, code []byte, addr uint64) {
		p, err := Entry(code, addr)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Why == "" || len(e.Why) > 200 || p != (Place{}) {
				t.Fatal(p, err)
			}
			return
		}
		first, end := p.Off(), p.Off()+p.N
		if p.N < NearLen || p.N > CodeLen || end > len(code) {
			t.Fatalf("%+v of %d bytes", p, len(code))
		}
		moved, ok, err := Moved(code[first:end], addr+uint64(first), addr+1<<20)
		if err != nil || ok && (len(moved) > MovedLen || len(moved) == 0) {
			t.Fatalf("moved: %x, %v", moved, err)
		}
	})
}

// flat is memory from an address on.
type flat struct {
	addr uint64
	data []byte
}

func (f flat) Contains(addr, size uint64) bool {
	return addr >= f.addr && addr-f.addr <= uint64(len(f.data)) &&
		size <= uint64(len(f.data))-(addr-f.addr)
}

func (f flat) Read(b []byte, addr uint64) error {
	if !f.Contains(addr, uint64(len(b))) {
		return errors.New("read beyond")
	}
	copy(b, f.data[addr-f.addr:])
	return nil
}

// frames makes a table for functions at 0x2000 and 0x3000, of 16 and 32 bytes, in memory at 0x1000.
func frames() flat {
	const base = 0x1000
	b := make([]byte, 28+64)
	copy(b, []byte{1, 0x1b, encUdata4, encDataSdata4})
	put := func(off int, v uint64) { binary.LittleEndian.PutUint32(b[off:], uint32(v)) }
	put(8, 2)
	for i, entry := range []uint64{0x2000, 0x3000} {
		fde := base + 28 + 32*uint64(i)
		put(12+8*i, entry-base)
		put(16+8*i, fde-base)
		put(int(fde-base)+8, entry-fde-8)
		put(int(fde-base)+12, 16<<i)
	}
	return flat{base, b}
}

func TestFrames(t *testing.T) {
	m := frames()
	size := func(m flat, at uint64) uint64 {
		t.Helper()
		f, err := ReadFrames(m, m.addr, 28)
		if err != nil {
			t.Fatal(err)
		}
		n, err := f.Size(at)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	got := []uint64{size(m, 0x2000), size(m, 0x3000), size(m, 0x2001), size(m, 0x4000)}
	if want := []uint64{16, 32, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("sizes are %v, want %v", got, want)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"another encoding":        func(b []byte) []byte { b[3] = 0; return b },
		"more rows than there is": func(b []byte) []byte { b[8] = 9; return b },
		"an FDE elsewhere":        func(b []byte) []byte { b[17] = 0x7f; return b },
		"an FDE of another":       func(b []byte) []byte { b[36]++; return b },
		"cut off":                 func(b []byte) []byte { return b[:20] },
	} {
		m := frames()
		if m.data = damage(m.data); size(m, 0x2000) != 0 {
			t.Errorf("%s: a size", name)
		}
	}
}

// FuzzEntersAt: any bytes as a text with any unwind information; both ways of asking come to the
// same.
func FuzzEntersAt(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0xeb, 0x0f, 0x90}, 200), frames().data, uint64(0x40))
	f.Fuzz(func(t *testing.T, code, data []byte, off uint64) {
		if off >= uint64(len(code)) || uint64(len(code))-off < NearLen {
			return
		}
		m := flat{0x1000, data}
		table, err := ReadFrames(m, m.addr, uint64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		const base = 0x2000
		at, found := enters(t, Text{Code: code, Addr: base, Frames: table}, base+off,
			base+off+NearLen)
		if found && (at < base || at >= base+uint64(len(code))) {
			t.Fatalf("a branch at %#x", at)
		}
	})
}

// FuzzWhole: any bytes as a text with any unwind information, in what looks at all of it. Parts lie
// in the text; who calls, too.
func FuzzWhole(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0xe8, 0x0b, 0, 0, 0, 0x44, 0x01, 0xd8, 0xe9, 0xf0, 0x0f, 0, 0, 0xc3},
		400), frames().data, uint64(0), uint64(16))
	f.Add(bytes.Repeat([]byte{0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xff, 0xe0, 0x90}, 400), frames().data,
		uint64(3), uint64(90))
	f.Fuzz(func(t *testing.T, code, data []byte, off, size uint64) {
		m := flat{0x1000, data}
		table, err := ReadFrames(m, m.addr, uint64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		const base = 0x2000
		text := Text{Code: code, Addr: base, Frames: table, Data: []Code{{data, m.addr}}}
		text.Index()
		in := func(at uint64) bool { return at-base < uint64(len(code)) }
		relied, _ := text.Reliances()
		for at, r := range relied {
			if !in(at) || !in(r.Call) || r.Register == "" {
				t.Fatalf("%#x: %+v", at, r)
			}
		}
		text.Relied(base+off, size)
		if off >= uint64(len(code)) || size > uint64(len(code))-off {
			return
		}
		parts, err := text.Parts(base+off, code[off:][:size])
		for _, p := range parts {
			if err != nil || !in(p.From) || p.To-base > uint64(len(code)) || p.From >= p.To {
				t.Fatal(p, err)
			}
		}
	})
}

// FuzzFrames: any bytes as unwind information; nothing outside of it is read.
func FuzzFrames(f *testing.F) {
	f.Add(frames().data, uint64(28), uint64(0x2000))
	f.Fuzz(func(t *testing.T, data []byte, size, entry uint64) {
		m := flat{0x1000, data}
		table, err := ReadFrames(m, m.addr, size)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := table.Size(entry); err != nil || n > 1<<32 {
			t.Fatal(n, err)
		}
	})
}
