package rtld

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// spots is memory of three pages of which the middle one ends after 100 bytes, and counts what is
// read.
type spots struct{ reads int }

func (s *spots) ReadAt(b []byte, addr uint64) (int, error) {
	s.reads++
	for i := range b {
		at := addr + uint64(i)
		if at < pageSize || at >= 4*pageSize || at >= 2*pageSize+100 && at < 3*pageSize {
			return i, ErrUnreadable
		}
		b[i] = byte(at * 7)
	}
	return len(b), nil
}

// TestPages compares what is read by pages with what is read directly, at every edge.
func TestPages(t *testing.T) {
	p := NewPages(&spots{})
	for range 2 { // the second time much of it is kept
		for _, edge := range []uint64{0, pageSize, 2 * pageSize, 2*pageSize + 100, 3 * pageSize,
			4 * pageSize, 5 * pageSize, math.MaxUint64 - 3} {
			for addr := edge - 20; addr != edge+20; addr++ {
				for _, size := range []int{0, 1, 16, 64, int(pageSize) + 1} {
					want, got := make([]byte, size), make([]byte, size)
					wantN, wantErr := (&spots{}).ReadAt(want, addr)
					n, err := p.ReadAt(got, addr)
					if n != wantN || !errors.Is(err, wantErr) ||
						!bytes.Equal(got[:n], want[:wantN]) {
						t.Fatalf("%d bytes at %#x: %d, %v, want %d, %v", size, addr, n, err, wantN,
							wantErr)
					}
				}
			}
		}
	}
	s := &spots{}
	p = NewPages(s)
	for addr := pageSize; addr < 2*pageSize; addr += 8 {
		_, _ = p.ReadAt(make([]byte, 8), addr)
	}
	if s.reads != 1 {
		t.Errorf("one page was read %d times", s.reads)
	}
}
