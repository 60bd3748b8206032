package libpulp

import (
	"bytes"
	"testing"
)

// hostile is memory of which the process chose every byte: data, again and again.
type hostile []byte

func (h hostile) read(b []byte, addr uint64) error {
	if len(h) == 0 || addr>>48 != 0 {
		return errNowhere
	}
	for i := range b {
		b[i] = h[(addr+uint64(i))%uint64(len(h))]
	}
	return nil
}

func FuzzList(f *testing.F) {
	f.Add(words(1, 16, 3, 4, 5, 6, 7, 8, 9), "0.3.17")
	f.Add(append(words(1, 0x10), node(0, 0, 0, 0, 0, 1)...), "")
	f.Fuzz(func(t *testing.T, data []byte, version string) {
		r := &Runtime{Version: version, sym: symbols{state: 0}}
		l, err := r.list(hostile(data))
		if err == nil && len(l.patches) > maxApplied || len(l.raw) > 64<<20 {
			t.Errorf("%d patches, %d bytes", len(l.patches), len(l.raw))
		}
	})
}

func FuzzQueue(f *testing.F) {
	f.Add(append(writeInsn(0x1234, 1, 2, 3), writeInsn(0x5678, detour(9, true)...)...), 2)
	f.Add(append(insn(insnPrint, 8, 'h', 'i', 0, 0), insn(insnNOP, 0)...), 2)
	f.Fuzz(func(t *testing.T, data []byte, count int) {
		list, err := parseQueue(data, count)
		if err != nil {
			return
		}
		for _, w := range list {
			if !bytes.Contains(data, w.data) {
				t.Errorf("%x is not in %x", w.data, data)
			}
			if isDetour(w) && len(w.data) < jumpSize+shortSize {
				t.Errorf("a detour of %d bytes", len(w.data))
			}
		}
		_ = compare(list, list)
	})
}

func FuzzRing(f *testing.F) {
	f.Add([]byte("0123456789abcdef\x00\x00\x00\x00\x0e\x00\x00\x00\x04\x00\x00\x00"), uint64(16))
	f.Fuzz(func(t *testing.T, data []byte, size uint64) {
		r := &Runtime{sym: symbols{ring: size%ringMost + 1}}
		b, err := r.ring(hostile(data))
		if err == nil && uint64(len(b)) > r.sym.ring {
			t.Errorf("%d bytes of %d", len(b), r.sym.ring)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add(words(1, 2, 3, 4), "0.3.17")
	f.Fuzz(func(t *testing.T, data []byte, version string) {
		r := &Runtime{Version: version, sym: symbols{state: 0, errorState: 16, queue: 24}}
		s, err := r.state(hostile(data))
		if err == nil && s.usable() == nil && !s.Enabled() {
			t.Errorf("%+v is usable", s)
		}
		if plainVersion(version) && !r.atLeast(0, 0, 0) {
			t.Errorf("version %q", version)
		}
	})
}
