package native

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

func someRecord() *record {
	return &record{PatchID: [32]byte{1, 2, 3}, Target: ulp.Target{BuildID: []byte("01234567890123456789"), Name: "libc.so.6"},
		Container: "libc_livepatch1.so", Comments: "CVE-2026-1\n", Time: time.Unix(1_700_000_000, 0).UTC(), Base: 0x7f0000000000,
		Size: 0x8000, Table: 0x7f0000100000,
		Functions: []replaced{{Old: "malloc", New: "malloc_lp", Slot: 3, Entry: 0x7e0000000000, Replacement: 0x7f0000001000}},
		Code:      []extent{{0x1000, 0x2000}}}
}

// TestRecord: what is written is read again; what is cut off or changed is not.
func TestRecord(t *testing.T) {
	r := someRecord()
	b, err := r.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseRecord(b, r.Base)
	if d := cmp.Diff(r, got, cmp.AllowUnexported(extent{})); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	for n := range b {
		if _, err := parseRecord(b[:n], r.Base); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d bytes of it: %v", n, err)
		}
		bad := bytes.Clone(b)
		bad[n] ^= 0x40
		if _, err := parseRecord(bad, r.Base); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed: %v", n, err)
		}
	}
	if _, err := parseRecord(b, r.Base+pageSize); !errors.Is(err, ErrDamaged) {
		t.Errorf("at another place: %v", err)
	}
	for name, lie := range map[string]func(r *record){
		"a slot that no table has":    func(r *record) { r.Functions[0].Slot = maxSlots },
		"a replacement elsewhere":     func(r *record) { r.Functions[0].Replacement = r.Base + r.Size },
		"a replacement in front":      func(r *record) { r.Functions[0].Replacement = r.Base - 1 },
		"larger than a container":     func(r *record) { r.Size = maxSpan + maxAlign + 2*maxRecord + pageSize },
		"not whole pages":             func(r *record) { r.Size-- },
		"code elsewhere":              func(r *record) { r.Code[0].size = r.Size },
		"more code than allowed":      func(r *record) { r.Code = make([]extent, maxCode+1) },
		"more functions than allowed": func(r *record) { r.Functions = make([]replaced, maxSlots+1) },
	} {
		bad := someRecord()
		lie(bad)
		b, err := bad.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseRecord(b, bad.Base); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.Comments = string(make([]byte, maxRecord))
	if _, err := r.encode(); !errors.Is(err, ErrLimit) {
		t.Errorf("too long: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	b, _ := someRecord().encode()
	f.Add(b[recordHead:])
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRecord(sealed(body), 0x7f0000000000)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || r != nil {
				t.Fatal(r, err)
			}
			return
		}
		again, err := r.encode()
		if err != nil {
			t.Fatal(err)
		}
		second, err := parseRecord(again, r.Base)
		if d := cmp.Diff(r, second, cmpopts.EquateEmpty(), cmp.AllowUnexported(extent{})); d != "" || err != nil {
			t.Fatal(err, d)
		}
	})
}

// sealed puts a correct head in front of a record's body: a fuzzer does not find checksums.
func sealed(body []byte) []byte {
	if len(body) > maxRecord-recordHead {
		body = body[:maxRecord-recordHead]
	}
	return seal(append(make([]byte, recordHead), body...), recordMagic)
}

// TestTable: the same for a table's page and its sites.
func TestTable(t *testing.T) {
	s := &site{entry: 0x7e0000001000, kind: kindNOPs, n: atLen}
	copy(s.before[:], nops)
	copy(s.at[:], twoNOPs)
	tb := &table{base: 0x7f0000000000, buildID: []byte("01234567890123456789"), bias: 0x7e0000000000,
		layers: []layer{{1 << 40, pageSize, 1}}, sites: []*site{s}, slots: []uint64{s.resume()}}
	page := tb.encodePage()
	got, err := parsePage(page, tb.base)
	if err != nil {
		t.Fatal(err)
	}
	one, err := parseSite(s.encode())
	if err != nil {
		t.Fatal(err)
	}
	got.sites = append(got.sites, one)
	if d := cmp.Diff(tb, got, cmp.AllowUnexported(table{}, layer{}, site{})); d != "" {
		t.Error(d)
	}
	for n := range page {
		bad := bytes.Clone(page)
		bad[n] ^= 1
		if _, err := parsePage(bad, tb.base); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed: %v", n, err)
		}
	}
	if _, err := parsePage(page, tb.base+pageSize); !errors.Is(err, ErrDamaged) {
		t.Errorf("at another place: %v", err)
	}
	b := s.encode()
	for n := range b {
		bad := bytes.Clone(b)
		bad[n] ^= 1
		if _, err := parseSite(bad); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d of a site changed: %v", n, err)
		}
	}
	for name, bad := range map[string]site{
		"on no page":          {entry: 16, kind: kindNOPs, n: atLen},
		"in the kernel":       {entry: 1 << 47, kind: kindNOPs, n: atLen},
		"of no kind":          {entry: s.entry, n: atLen},
		"too many NOPs":       {entry: s.entry, kind: kindNOPs, n: atLen + 1},
		"too many, split":     {entry: s.entry, kind: kindSplit, n: atLen + 1},
		"no room for a jump":  {entry: s.entry, kind: kindCode, n: nearLen - 1},
		"more than it can be": {entry: s.entry, kind: kindCode, n: codeLen + 1},
	} {
		if _, err := parseSite(bad.encode()); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzTable(f *testing.F) {
	tb := &table{base: 1 << 40, bias: 1 << 41, slots: []uint64{1, 2}, layers: []layer{{1, 2, 3}}}
	f.Add(tb.encodePage()[12:], make([]byte, 60))
	f.Fuzz(func(t *testing.T, body, site []byte) {
		page := make([]byte, pageSize)
		copy(page[12:], body)
		copy(page, tableMagic)
		putSum(page[8:], page[12:])
		got, err := parsePage(page, 1<<40)
		if err == nil {
			again, err := parsePage(got.encodePage(), 1<<40)
			if d := cmp.Diff(got, again, cmp.AllowUnexported(table{}, layer{})); d != "" || err != nil {
				t.Fatal(err, d)
			}
		}
		b := make([]byte, siteSize)
		copy(b[:60], site)
		putSum(b[60:], b[:60])
		s, err := parseSite(b)
		if err != nil {
			return
		}
		_, _ = s.moved(1 << 40)
		at, plain := s.window(1<<40, false)
		_, led := s.window(1<<40, true)
		if at > s.place() || len(plain) != len(led) {
			t.Fatal(at, plain, led)
		}
	})
}

// forged is memory for the readers of a process's structures.
type forged struct {
	base uint64
	data []byte
}

func (m forged) ReadAt(_ context.Context, b []byte, addr uint64) (int, error) {
	if addr < m.base || addr-m.base > uint64(len(m.data)) {
		return 0, process.ErrUnreadable
	}
	n := copy(b, m.data[addr-m.base:])
	if n < len(b) {
		return n, process.ErrUnreadable
	}
	return n, nil
}

// fakeDebug is memory with an r_debug and list entries.
type fakeDebug struct{ forged }

func newFakeDebug(size int) fakeDebug {
	return fakeDebug{forged{0x1000, make([]byte, 0x1000+size)}}
}

func (m fakeDebug) put(at, v uint64) { le.PutUint64(m.data[at-m.base:], v) }

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
	mem := newFakeDebug(48 * (maxModules + 2))
	mem.put(0x1000, 1)
	mem.put(0x1008, 0x2000)
	mem.put(0x1028, 0x2000) // no next namespace: version 1 has none
	mem.entries(0x2000, 3, 0)
	copy(mem.data[0x100:], "/lib/x.so\x00")
	lists, err := readDebug(t.Context(), mem, 0x1000)
	if err != nil || len(lists) != 1 || len(lists[0]) != 3 || lists[0][2].bias != 0x20000 || lists[0][1].name != "/lib/x.so" {
		t.Errorf("%+v %v", lists, err)
	}
	for what, at := range map[string]uint64{"nothing is loaded yet": 0x1000, "a list is being changed": 0x1018} {
		mem.put(at, 1-le.Uint64(mem.data[at-0x1000:]))
		if _, err := readDebug(t.Context(), mem, 0x1000); !errors.Is(err, ErrAgain) {
			t.Errorf("%s: %v", what, err)
		}
		mem.put(at, 1-le.Uint64(mem.data[at-0x1000:]))
	}
	mem.put(0x2000+48*2+24, 0x2000)
	if _, err := readDebug(t.Context(), mem, 0x1000); !errors.Is(err, process.ErrMalformed) {
		t.Errorf("a cycle: %v", err)
	}
	mem.put(0x2000+48*2+24, 0x20)
	if _, err := readDebug(t.Context(), mem, 0x1000); !errors.Is(err, process.ErrUnreadable) {
		t.Errorf("out of memory: %v", err)
	}
	mem.entries(0x2000, maxModules+1, 0)
	if _, err := readDebug(t.Context(), mem, 0x1000); !errors.Is(err, process.ErrMalformed) {
		t.Errorf("too many: %v", err)
	}
}

// TestNamespaces: several lists, and r_debugs in a circle, without end, out of memory, or that share a list.
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
	lists, err := readDebug(t.Context(), mem, 0x1000)
	if err != nil || len(lists) != 3 || len(lists[2]) != 2 || lists[2][1].bias != 0x210000 {
		t.Errorf("%+v %v", lists, err)
	}
	for what, next := range map[string]uint64{"a circle": 0x1000, "a list's entry": 0x2000, "itself": 0x1000 + 64*2} {
		mem.put(last, next)
		if _, err := readDebug(t.Context(), mem, 0x1000); !errors.Is(err, process.ErrMalformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	mem.put(last, 0)
	mem.put(0x1000+64*2+8, 0x2000) // the list of the first one
	if _, err := readDebug(t.Context(), mem, 0x1000); !errors.Is(err, process.ErrMalformed) {
		t.Errorf("a shared list: %v", err)
	}
	mem.put(0x1000+64*2+8, 0)
	mem.put(last, 0x10)
	if _, err := readDebug(t.Context(), mem, 0x1000); !errors.Is(err, process.ErrUnreadable) {
		t.Errorf("out of memory: %v", err)
	}
	for i := range uint64(maxNamespaces + 1) {
		at := 0x3000 + 64*i
		mem.put(at, 2)
		mem.put(at+40, at+64)
	}
	if _, err := readDebug(t.Context(), mem, 0x3000); !errors.Is(err, process.ErrMalformed) {
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
		lists, err := readDebug(t.Context(), forged{0x1000, data}, at)
		if err != nil && lists != nil || len(lists) > maxNamespaces {
			t.Fatal(lists, err)
		}
	})
}

// FuzzCodeSite: any bytes as a function.
func FuzzCodeSite(f *testing.F) {
	f.Add([]byte{0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0xc9, 0xc3}, uint64(0x401000))
	f.Fuzz(func(t *testing.T, code []byte, addr uint64) {
		s, err := siteOf(code, addr)
		if err != nil {
			if !errors.Is(err, ErrEntry) {
				t.Fatal(err)
			}
			return
		}
		if s.n < nearLen || s.n > codeLen || int(s.resume()-addr) > len(code) {
			t.Fatalf("%+v", s)
		}
		if b, err := s.moved(addr + pageSize); err == nil && len(b) > stubSize-movedAt {
			t.Fatalf("%d bytes moved", len(b))
		}
	})
}

// TestTogether: what is to be seen again is read at once as far as it follows in one page.
func TestTogether(t *testing.T) {
	at := func(addr uint64, n int) write { return write{addr, make([]byte, n)} }
	for what, c := range map[string]struct {
		list []write
		want int
	}{
		"one":                      {[]write{at(0x1000, 0x1000)}, 1},
		"a page and what is in it": {[]write{at(0x1000, 0x1000), at(0x1800, 8)}, 2},
		"three in a page":          {[]write{at(0x1100, 8), at(0x1100, 16), at(0x1ff8, 8)}, 3},
		"across its end":           {[]write{at(0x1100, 8), at(0x1200, 8), at(0x1ff9, 8)}, 2},
		"the next page":            {[]write{at(0x1ff0, 8), at(0x2000, 8)}, 1},
		"one in two pages":         {[]write{at(0x1ff0, 32), at(0x2000, 32)}, 1},
		"two pages":                {[]write{at(0x1000, 0x2000), at(0x1800, 8)}, 2},
		"not in their order":       {[]write{at(0x1100, 8), at(0x1000, 8)}, 1},
	} {
		got, end := together(c.list)
		if got != c.want || slices.ContainsFunc(c.list[:got], func(w write) bool { return w.end() > end }) {
			t.Errorf("%s: %d up to %#x, want %d", what, got, end, c.want)
		}
	}
}
