package prove

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

// TestBranches finds branches into the middle of what a jump replaces, one function after the other and for all at once.
func TestBranches(t *testing.T) {
	const base, function = 0x400000, 0x400400
	for name, tc := range map[string]struct {
		branch []byte
		want   bool
	}{
		"jump into it":           {branchTo(base+1, function+1, 0xe9), true},
		"call of its last byte":  {branchTo(base+1, function+4, 0xe8), true},
		"conditional jump":       {branchTo(base+1, function+2, 0x0f, 0x85), true},
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
		at, found := EntersAt(code, base, function, function+5)
		if found != tc.want || found && at != base+1 {
			t.Errorf("%s: EntersAt = %#x, %t", name, at, found)
		}
		if got := NewBranches(code, base).Enter(function, function+5); got != tc.want {
			t.Errorf("%s: Enter = %t", name, got)
		}
	}
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
		"two NOPs":                 {window(fourteen, "\x90\x90"), true},
		"one NOP":                  {window(fourteen, "\x66\x90"), true},
		"behind endbr64":           {window(fourteen, "\xf3\x0f\x1e\xfa\x90\x90"), true},
		"none at the entry":        {window(fourteen, "\x55\x90"), false},
		"one at the entry":         {window(fourteen, "\x90\x55"), false},
		"thirteen before":          {window("\x55"+fourteen[1:], "\x90\x90"), false},
		"long NOPs before":         {window("\x66\x0f\x1f\x84\x00\x00\x00\x00\x00\x0f\x1f\x44\x00\x00", "\x90\x90"), false},
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
		if err != nil || ok && len(moved) != p.N {
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
	return addr >= f.addr && addr-f.addr <= uint64(len(f.data)) && size <= uint64(len(f.data))-(addr-f.addr)
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
