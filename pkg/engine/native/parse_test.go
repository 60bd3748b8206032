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

func someRecord() *patchRecord {
	return &patchRecord{PatchID: [32]byte{1, 2, 3},
		Target:    ulp.Target{BuildID: []byte("01234567890123456789"), Name: "libc.so.6"},
		Container: "libc_livepatch1.so", Comments: "CVE-2026-1\n",
		Time: time.Unix(1_700_000_000, 0).UTC(), Base: 0x7f0000000000, Size: 0x8000,
		Table: 0x7f0000100000, Functions: []replaced{{Old: "malloc", New: "malloc_lp", Slot: 3,
			Entry: 0x7e0000000000, Replacement: 0x7f0000001000}}, Code: []extent{{0x1000, 0x2000}}}
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
	for name, lie := range map[string]func(r *patchRecord){
		"a slot that no table has": func(r *patchRecord) { r.Functions[0].Slot = maxSlots },
		"a replacement elsewhere": func(r *patchRecord) {
			r.Functions[0].Replacement = r.Base + r.Size
		},
		"a replacement in front": func(r *patchRecord) {
			r.Functions[0].Replacement = r.Base - 1
		},
		"larger than a container": func(r *patchRecord) {
			r.Size = maxSpan + maxAlign + 2*maxRecord + pageSize
		},
		"not whole pages":        func(r *patchRecord) { r.Size-- },
		"code elsewhere":         func(r *patchRecord) { r.Code[0].size = r.Size },
		"more code than allowed": func(r *patchRecord) { r.Code = make([]extent, maxCode+1) },
		"more functions than allowed": func(r *patchRecord) {
			r.Functions = make([]replaced, maxSlots+1)
		},
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
		if d := cmp.Diff(r, second, cmpopts.EquateEmpty(),
			cmp.AllowUnexported(extent{})); d != "" || err != nil {
			t.Fatal(err, d)
		}
	})
}

// sealed puts a correct head before a record's body: a fuzzer does not find checksums.
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
	tb := &table{base: 0x7f0000000000, buildID: []byte("01234567890123456789"),
		bias: 0x7e0000000000, patches: []activePatch{{1 << 40, pageSize, 1}}, sites: []*site{s},
		slots: []uint64{s.resume()}}
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
	if d := cmp.Diff(tb, got, cmp.AllowUnexported(table{}, activePatch{}, site{})); d != "" {
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
	tb := &table{base: 1 << 40, bias: 1 << 41, slots: []uint64{1, 2},
		patches: []activePatch{{1, 2, 3}}}
	f.Add(tb.encodePage()[12:], make([]byte, 60))
	f.Fuzz(func(t *testing.T, body, site []byte) {
		page := make([]byte, pageSize)
		copy(page[12:], body)
		copy(page, tableMagic)
		putSum(page[8:], page[12:])
		got, err := parsePage(page, 1<<40)
		if err == nil {
			again, err := parsePage(got.encodePage(), 1<<40)
			if d := cmp.Diff(got, again, cmp.AllowUnexported(table{}, activePatch{})); d != "" ||
				err != nil {
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
		if got != c.want || slices.ContainsFunc(c.list[:got], func(w write) bool {
			return w.end() > end
		}) {
			t.Errorf("%s: %d up to %#x, want %d", what, got, end, c.want)
		}
	}
}
