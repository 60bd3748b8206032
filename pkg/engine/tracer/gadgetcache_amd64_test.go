package tracer

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// image is memory with code and data, as one process shows it.
type image struct {
	mem   []byte
	reads int // bytes
}

func (p *image) ReadAt(b []byte, off int64) (int, error) {
	n, err := bytes.NewReader(p.mem).ReadAt(b, off)
	p.reads += n
	return n, err
}

var _ io.ReaderAt = (*image)(nil)

// with returns memory with the instructions at these places, in code of which programCode is, or
// outside of it.
func with(places ...int) *image {
	p := &image{mem: bytes.Repeat([]byte{0x90}, 0x20000)}
	code := slices.Concat(syscallRet, restorers[0], keepRax)
	for _, at := range places {
		copy(p.mem[at:], code)
	}
	return p
}

// TestGadgetCache: what one process shows is used in others that have the same there, and decides
// nothing where it is not so: a process may claim to have any library.
func TestGadgetCache(t *testing.T) {
	code := []Range{{0x2000, 0x12000}}
	find := func(c *GadgetCache, p *image, id string, base uint64, code []Range) (uint64, int) {
		p.reads = 0
		g, err := c.Find(p, []byte(id), base, code)
		if err != nil {
			t.Fatal(err)
		}
		return g.Syscall, p.reads
	}
	var c GadgetCache
	if at, _ := find(&c, with(0x3000), "libc", 0x1000, code); at != 0x3000 {
		t.Errorf("found at %#x", at)
	}
	if at, n := find(&c, with(0x4000, 0x3000), "libc", 0x2000, code); at != 0x4000 ||
		n > 4*gadgetOverlap {
		t.Errorf("the same elsewhere is found at %#x, with %d bytes read", at, n)
	}
	poor := with(0x6000)
	// no Keep, and so no Store either
	copy(poor.mem[0x6000+len(syscallRet)+len(restorers[0]):], []byte{0x90, 0x90, 0x90})
	if at, _ := find(&c, poor, "poor", 0x1000, code); at != 0x6000 {
		t.Errorf("found at %#x", at)
	}
	if g, err := c.Find(with(0x6000), []byte("poor"), 0x1000, code); err != nil || g.Keep == 0 ||
		g.Store == 0 {
		t.Errorf("what one process lacks another one has not either: %+v, %v", g, err)
	}
	if at, n := find(&c, with(0x2800), "other", 0x1000, code); at != 0x2800 || n < 4*gadgetOverlap {
		t.Errorf("in another library it is found at %#x, with %d bytes read", at, n)
	}
	for what, liar := range map[string][]Range{
		"in data":             {{0x14000, 0x15000}},
		"across code's end":   {{0x11000, 0x12100}},
		"where nothing is":    {{0x8000, 0x9000}},
		"before the library":  {{0x100, 0x1000}},
		"where it is in code": {{0x3000, 0x4000}},
	} {
		var c GadgetCache
		at := int(liar[0].Start) + 0x20
		if what == "across code's end" {
			at = 0x12000 - 4
		}
		if got, _ := find(&c, with(at), "libc", 0x1000, liar); got != uint64(at) {
			t.Fatalf("%s: the liar's is at %#x", what, got)
		}
		honest := with(0x5000)
		if what != "where nothing is" {
			honest = with(at, 0x5000)
		}
		want := uint64(0x5000)
		if what == "where it is in code" {
			want = uint64(at)
		}
		if got, _ := find(&c, honest, "libc", 0x1000, code); got != want {
			t.Errorf("%s: found at %#x, want %#x", what, got, want)
		}
	}
}
