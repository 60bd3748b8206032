package rtld

import (
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
)

// fakeDebug is memory with an r_debug and list entries.
type fakeDebug struct {
	base uint64
	data []byte
}

func newFakeDebug(size int) fakeDebug {
	return fakeDebug{0x1000, make([]byte, 0x1000+size)}
}

func (m fakeDebug) put(at, v uint64) { le.PutUint64(m.data[at-m.base:], v) }

// ReadAt reads len(b) bytes at an address.
func (m fakeDebug) ReadAt(b []byte, addr uint64) (int, error) {
	return forged.Memory{m.base: m.data}.ReadAt(b, addr)
}

// entries puts a list of n entries at an address, with biases from one on.
func (m fakeDebug) entries(at uint64, n int, bias uint64) {
	for i := range uint64(n) {
		m.put(at+48*i, bias+0x10000*i)
		m.put(at+48*i+8, 0x1100)
		m.put(at+48*i+24, at+48*(i+1))
	}
	m.put(at+48*uint64(n-1)+24, 0)
}

// TestLinkMap: a list that bites its own tail, one without end, and one that leads out of memory.
func TestLinkMap(t *testing.T) {
	mem := newFakeDebug(48 * (maxLinkMaps + 2))
	mem.put(0x1000, 1)
	mem.put(0x1008, 0x2000)
	mem.put(0x1028, 0x2000) // no next namespace: version 1 has none
	mem.entries(0x2000, 3, 0)
	copy(mem.data[0x100:], "/lib/x.so\x00")
	lists, err := readNamespaces(mem, 0x1000)
	if err != nil || len(lists) != 1 || len(lists[0]) != 3 || lists[0][2].bias != 0x20000 ||
		lists[0][1].path != "/lib/x.so" {
		t.Errorf("%+v %v", lists, err)
	}
	for what, at := range map[string]uint64{"nothing is loaded yet": 0x1000,
		"a list is being changed": 0x1018} {
		mem.put(at, 1-le.Uint64(mem.data[at-0x1000:]))
		if _, err := readNamespaces(mem, 0x1000); !errors.Is(err, ErrLoading) {
			t.Errorf("%s: %v", what, err)
		}
		mem.put(at, 1-le.Uint64(mem.data[at-0x1000:]))
	}
	mem.put(0x2000+48*2+24, 0x2000)
	if _, err := readNamespaces(mem, 0x1000); !errors.Is(err, ErrMalformed) {
		t.Errorf("a cycle: %v", err)
	}
	mem.put(0x2000+48*2+24, 0x20)
	if _, err := readNamespaces(mem, 0x1000); !errors.Is(err, ErrUnreadable) {
		t.Errorf("out of memory: %v", err)
	}
	mem.entries(0x2000, maxLinkMaps+1, 0)
	if _, err := readNamespaces(mem, 0x1000); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many: %v", err)
	}
}

// TestNamespaces: several lists, and r_debugs in a circle, without end, out of memory, or that
// share a list.
func TestNamespaces(t *testing.T) {
	mem := newFakeDebug(0x4000)
	for i := range uint64(3) {
		mem.put(0x1000+64*i, 2)
		mem.put(0x1000+64*i+8, 0x2000+0x400*i)
		mem.put(0x1000+64*i+40, 0x1000+64*(i+1))
		mem.entries(0x2000+0x400*i, 2, 0x100000*i)
	}
	last := uint64(0x1000 + 64*2 + 40)
	mem.put(last, 0)
	lists, err := readNamespaces(mem, 0x1000)
	if err != nil || len(lists) != 3 || len(lists[2]) != 2 || lists[2][1].bias != 0x210000 {
		t.Errorf("%+v %v", lists, err)
	}
	for what, next := range map[string]uint64{"a circle": 0x1000, "a list's entry": 0x2000,
		"itself": 0x1000 + 64*2} {
		mem.put(last, next)
		if _, err := readNamespaces(mem, 0x1000); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mem.put(last, 0)
	mem.put(0x1000+64*2+8, 0x2000) // the list of the first one
	if _, err := readNamespaces(mem, 0x1000); !errors.Is(err, ErrMalformed) {
		t.Errorf("a shared list: %v", err)
	}
	mem.put(0x1000+64*2+8, 0)
	mem.put(last, 0x10)
	if _, err := readNamespaces(mem, 0x1000); !errors.Is(err, ErrUnreadable) {
		t.Errorf("out of memory: %v", err)
	}
	for i := range uint64(maxNamespaces + 1) {
		at := 0x3000 + 64*i
		mem.put(at, 2)
		mem.put(at+40, at+64)
	}
	if _, err := readNamespaces(mem, 0x3000); !errors.Is(err, ErrMalformed) {
		t.Errorf("too many: %v", err)
	}
}

func FuzzLinkMap(f *testing.F) {
	f.Add(make([]byte, 200), uint64(0x1000))
	seed := newFakeDebug(0x100)
	for _, at := range []uint64{0x1000, 0x1040} {
		seed.put(at, 2)
		seed.put(at+8, at+0x100)
		seed.entries(at+0x100, 1, at)
	}
	seed.put(0x1028, 0x1040)
	f.Add(seed.data, uint64(0x1000))
	f.Fuzz(func(t *testing.T, data []byte, at uint64) {
		lists, err := readNamespaces(fakeDebug{0x1000, data}, at)
		if err != nil && lists != nil || len(lists) > maxNamespaces {
			t.Fatal(lists, err)
		}
	})
}
