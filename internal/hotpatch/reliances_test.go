package hotpatch

import (
	"encoding/binary"
	"errors"
	"testing"
)

// framesOf is unwind information of functions that follow each other, all of one size.
func framesOf(t *testing.T, first, size uint64, n int) *Frames {
	t.Helper()
	const base, head, row, fdeLen = 0x1000, 12, 8, 32
	table := head + row*n
	b := make([]byte, table+fdeLen*n)
	copy(b, []byte{1, 0x1b, encUdata4, encDataSdata4})
	put := func(off int, v uint64) { binary.LittleEndian.PutUint32(b[off:], uint32(v)) }
	put(8, uint64(n))
	for i := range n {
		entry, fde := first+size*uint64(i), base+uint64(table+fdeLen*i)
		put(head+row*i, entry-base)
		put(head+row*i+4, fde-base)
		put(int(fde-base)+8, entry-fde-8)
		put(int(fde-base)+12, size)
	}
	f, err := ReadFrames(flat{base, b}, base, uint64(table))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// callEachOther is the code of functions each of which calls all of them, and reads %r11 after each
// call, which none writes.
func callEachOther(n int) (code []byte, size uint64) {
	const one = NearLen + 3
	size = uint64(n*one + 1)
	for i := range uint64(n) {
		for j := range uint64(n) {
			code = append(code, branchTo(i*size+j*one, j*size, 0xe8)...)
			code = append(code, 0x4d, 0x85, 0xdb) // test %r11,%r11
		}
		code = append(code, 0xc3)
	}
	return code, size
}

// TestReliancesTooMany follows the calls of functions that all call each other: some can be
// followed to their end, and of many it is not known who relies on what, which is said.
func TestReliancesTooMany(t *testing.T) {
	const base = 0x400000
	for n, want := range map[int]error{8: nil, 200: ErrCalls} {
		code, size := callEachOther(n)
		text := Text{Code: code, Addr: base, Frames: framesOf(t, base, size, n)}
		relied, err := text.Reliances()
		if !errors.Is(err, want) || (err == nil) != (want == nil) || err != nil && relied != nil {
			t.Errorf("%d functions: %d reliances, %v, want %v", n, len(relied), err, want)
		}
		if want == nil && (len(relied) != n || relied[base].Register != "%r11") {
			t.Errorf("%d functions: %+v", n, relied)
		}
	}
}
