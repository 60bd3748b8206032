package libpulp

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// program is memory with functions at addresses, each with the NOPs before it.
func program(entries map[uint64]string) fake {
	f := fake{}
	for entry, state := range entries {
		b := append(bytes.Repeat([]byte{0x90}, jumpSize), 0x90, 0x90)
		if state == "detour" {
			b = detour(0x1111, false)
		}
		f[entry-jumpSize] = b
	}
	return f
}

// put returns a function that writes into f, and the writes that it made.
func (f fake) put(fail int) (func(write) error, *[]write) {
	var log []write
	return func(w write) error {
		if len(log) == fail {
			fail = -1
			return errNowhere
		}
		log = append(log, w)
		for at, data := range f {
			if w.addr >= at && w.addr < at+uint64(len(data)) {
				copy(data[w.addr-at:], w.data)
			}
		}
		return nil
	}, &log
}

// TestOrder has each way in which a function can be switched, and checks after each write that no
// function is half a jump.
func TestOrder(t *testing.T) {
	entries := map[uint64]string{0x10_0100: "NOPs", 0x20_0100: "NOPs", 0x30_0100: "detour",
		0x40_0008: "detour", 0x50_0100: "detour"}
	f := program(entries)
	f[0x60_0000] = make([]byte, 8)
	var writes []write
	for _, entry := range []uint64{0x10_0100, 0x20_0100, 0x30_0100, 0x40_0008} {
		writes = append(writes, write{entry - jumpSize, detour(0x2222, false)})
	}
	writes = append(writes, undetour(0x50_0100, false), write{0x60_0000, words(7)})
	put, log := f.put(-1)
	watch := func(w write) error {
		err := put(w)
		for entry := range entries {
			b := f[entry-jumpSize]
			if b[jumpSize] == 0xeb && !bytes.Equal(b, detour(0x1111, false)) &&
				!bytes.Equal(b, detour(0x2222, false)) {
				t.Errorf("%#x is % x after %d writes", entry, b, len(*log))
			}
			if b[jumpSize] == 0xeb && bytes.Equal(b, detour(0x2222, false)) &&
				le.Uint64(f[0x60_0000]) != 7 {
				t.Errorf("%#x runs before the container's variable is set", entry)
			}
		}
		return err
	}
	if err := carryOut(f, watch, writes); err != nil {
		t.Fatal(err)
	}
	for entry := range entries {
		want := detour(0x2222, false)
		if entry == 0x50_0100 {
			want = append(detour(0x1111, false)[:jumpSize], nop2[:]...)
		}
		if !bytes.Equal(f[entry-jumpSize], want) {
			t.Errorf("%#x is % x", entry, f[entry-jumpSize])
		}
	}
	for _, w := range *log { // one write, one step for the kernel
		inUse := bytes.HasPrefix(w.data, absolute[:]) && w.addr == 0x40_0008-jumpSize
		if w.addr/pageSize != (w.addr+uint64(len(w.data))-1)/pageSize && !inUse {
			t.Errorf("a write over two pages at %#x", w.addr)
		}
	}
}

// TestTakenBack has each of the writes fail: what was there before is there again.
func TestTakenBack(t *testing.T) {
	for fail := 0; ; fail++ {
		entries := map[uint64]string{0x10_0100: "NOPs", 0x30_0100: "detour", 0x40_0008: "detour"}
		f, before := program(entries), program(entries)
		var writes []write
		for entry := range entries {
			writes = append(writes, write{entry - jumpSize, detour(0x2222, false)})
		}
		put, log := f.put(fail)
		err := carryOut(f, put, writes)
		if err == nil {
			if len(*log) != fail || fail < 5 {
				t.Errorf("%d writes, %d were to fail", len(*log), fail)
			}
			return
		}
		if !errors.Is(err, errNowhere) || fmt.Sprint(f) != fmt.Sprint(before) {
			t.Errorf("write %d failed: %v: %x, want %x", fail, err, f, before)
		}
	}
}

func TestDetour(t *testing.T) {
	for _, tc := range []struct {
		landing bool
		want    string
	}{
		{false, "ff25000000008877665544332211ebf0"},
		{true, "ff25000000008877665544332211f30f1efaebec"},
	} {
		b := detour(0x1122334455667788, tc.landing)
		if got := fmt.Sprintf("%x", b); got != tc.want || !isDetour(write{0, b}) {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
	if w := undetour(0x1000, true); w.addr != 0x1004 || !slices.Equal(w.data, []byte{0x66, 0x90}) {
		t.Errorf("%+v", w)
	}
}
