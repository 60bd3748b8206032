package native

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// kind is how a function's entry leads to its stub. Whatever is written, it is written such that at
// every moment between two writes the function works, in its old way or in the new one: the engine
// may be killed there. One write is one kernel copy within a page, which nothing interrupts.
type kind uint8

const (
	// kindNOPs: a jump in the 14 NOPs before the symbol, then a short jump to it over the two bytes
	// at the entry.
	kindNOPs kind = 1
	// kindSplit: the same where a page ends between these two bytes, so that they cannot be written
	// at once. The second one is written first, and until the first is there, it must be an
	// instruction that does no harm after the first NOP. The distance of the jump is chosen for
	// that: -8 is clc, -11 is cmc; and there is a near jump in the NOPs.
	kindSplit kind = 2
	// kindCode: a near jump over whole instructions at the entry of a function without NOPs. See
	// codeSite.
	kindCode kind = 3
)

const (
	beforeLen  = hotpatch.BeforeLen // NOPs before the symbol, and the jump there
	atLen      = hotpatch.AtLen     // NOPs at the entry, and the short jump
	nearLen    = hotpatch.NearLen   // near jump
	landingLen = hotpatch.LandingLen
	codeLen    = hotpatch.CodeLen // room for overwritten instructions
)

var (
	endbr64  = []byte{0xf3, 0x0f, 0x1e, 0xfa}
	nops     = bytes.Repeat([]byte{0x90}, beforeLen)
	oneNOP   = []byte{0x66, 0x90}
	twoNOPs  = nops[:2]
	absolute = []byte{0xff, 0x25, 0, 0, 0, 0} // jmp *0(%rip), before its address
	loadR11  = []byte{0x49, 0xbb}             // movabs to %r11, before what is loaded
	jumpR11  = []byte{0x41, 0xff, 0xe3, 0x90} // jmp *%r11; nop
)

// site is a function's entry as it is without a detour, and how a detour is made there.
type site struct {
	entry   uint64 // address of the symbol
	kind    kind
	landing bool            // endbr64 at the entry: it stays, and everything else is after it
	before  [beforeLen]byte // what is before the entry; kindNOPs, kindSplit
	at      [codeLen]byte   // what is at place
	n       int             // bytes at place that the detour replaces, as whole instructions
}

// place is where calls arrive that the detour catches.
func (s *site) place() uint64 {
	if s.landing {
		return s.entry + landingLen
	}
	return s.entry
}

// resume is where the function goes on after the detour.
func (s *site) resume() uint64 { return s.place() + uint64(s.n) }

// single says that no thread can stand inside what the detour overwrites. Between the bytes of
// kindSplit one may stand: what it finds there does no harm.
func (s *site) single() bool {
	return s.kind == kindSplit || s.kind == kindNOPs && bytes.Equal(s.at[:atLen], oneNOP)
}

// siteWindow is what has to be read to look at an entry, from beforeLen bytes before it.
const siteWindow = hotpatch.Window

// nopSite recognises the NOPs of -fpatchable-function-entry=16,14. A jump in front that nothing
// leads to is what libpulp leaves when it reverts. The error wraps ErrForeign for a detour, and
// ErrEntry for anything else.
func nopSite(entry uint64, window []byte) (*site, error) {
	s := &site{entry: entry, kind: kindNOPs, n: atLen}
	copy(s.before[:], window)
	at := window[beforeLen:]
	if bytes.HasPrefix(at, endbr64) {
		s.landing, at = true, at[landingLen:]
	}
	copy(s.at[:atLen], at)
	jump := leftJump(window[:beforeLen])
	back := byte(int(entry) - beforeLen - int(s.place()) - atLen)
	switch {
	case jump && at[0] == 0xeb && at[1] == back:
		return nil, &foreignError{entry - beforeLen, bytes.Clone(window[:beforeLen])}
	case !bytes.Equal(at[:atLen], oneNOP) && !bytes.Equal(at[:atLen], twoNOPs),
		!jump && !bytes.Equal(window[:beforeLen], nops):
		return nil, fmt.Errorf("%w: it has no NOPs there", ErrEntry)
	case s.place()%pageSize == pageSize-1:
		s.kind = kindSplit
	}
	return s, nil
}

// write is one change of the process's memory.
type write struct {
	addr uint64
	data []byte
}

func (w write) end() uint64 { return w.addr + uint64(len(w.data)) }

// jumpTo encodes a near jump from an address to another; ok is false if it is too far.
func jumpTo(from, to uint64) (b []byte, ok bool) {
	d := int64(to - from - nearLen)
	if d < math.MinInt32 || d > math.MaxInt32 {
		return nil, false
	}
	return binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(d)), true
}

// split returns where the near jump of kindSplit lies, and the distance to it.
func (s *site) split() (at uint64, distance int8) {
	distance = -8
	if s.landing {
		distance = -11
	}
	return s.place() + atLen + uint64(int64(distance)), distance
}

// needsNear reports whether the stub has to be within reach of a near jump.
func (s *site) needsNear() bool { return s.kind != kindNOPs }

// nopJump is the jump in the NOPs of kindNOPs. It reads no memory: the code may be execute-only.
// %r11 is nobody's where a function is entered: the dynamic loader's own stubs use it there.
func (s *site) nopJump(stub uint64) []byte {
	if near, ok := jumpTo(s.entry-beforeLen, stub); ok {
		return append(near, nops[nearLen:]...)
	}
	return append(le.AppendUint64(slices.Clip(loadR11), stub), jumpR11...)
}

// oldNOPJump is that of earlier versions, and of libpulp. It reads its destination from the code.
func oldNOPJump(stub uint64) []byte { return le.AppendUint64(slices.Clip(absolute), stub) }

// leftJump reports whether what is before an entry is a jump that somebody has put there.
func leftJump(before []byte) bool {
	return bytes.HasPrefix(before, absolute) || bytes.HasPrefix(before, loadR11) &&
		bytes.HasSuffix(before, jumpR11) ||
		before[0] == 0xe9 && bytes.Equal(before[nearLen:], nops[nearLen:])
}

// detour returns the writes, in order, that lead the function to a stub.
func (s *site) detour(stub uint64) ([]write, error) {
	switch s.kind {
	case kindNOPs:
		return s.overNOPs(s.nopJump(stub)), nil
	case kindSplit:
		at, distance := s.split()
		jump, ok := jumpTo(at, stub)
		if !ok {
			return nil, ErrNoRoom
		}
		return []write{{at, jump}, {s.place() + 1, []byte{byte(distance)}},
			{s.place(), []byte{0xeb}}}, nil
	}
	jump, ok := jumpTo(s.place(), stub)
	if !ok {
		return nil, ErrNoRoom
	}
	return []write{{s.place(), jump}}, nil
}

// overNOPs returns the writes that put a jump into the NOPs, and lead the entry there.
func (s *site) overNOPs(jump []byte) []write {
	return []write{{s.entry - beforeLen, jump},
		{s.place(), []byte{0xeb, byte(s.entry - beforeLen - s.place() - atLen)}}}
}

// restore returns the writes, in order, that make the entry what it was.
func (s *site) restore() []write {
	front := write{s.entry - beforeLen, s.before[:]}
	switch s.kind {
	case kindNOPs:
		return []write{{s.place(), s.at[:atLen]}, front}
	case kindSplit:
		return []write{{s.place(), s.at[:1]}, {s.place() + 1, s.at[1:2]}, front}
	}
	return []write{{s.place(), s.at[:nearLen]}}
}

// led reports whether what is at place leads to the stub; ok is false if it is neither that nor
// what was there before. Of kindSplit an engine may have left the half that leads nowhere.
func (s *site) led(have []byte, stub uint64) (led, ok bool) {
	at, plain := s.window(stub, false)
	_, detoured := s.window(stub, true)
	if s.kind == kindNOPs && bytes.HasPrefix(have, absolute) { // an earlier version's
		for _, w := range s.overNOPs(oldNOPJump(stub)) {
			copy(detoured[w.addr-at:], w.data)
		}
	}
	i := s.place() - at
	if s.kind == kindSplit && have[i] == plain[i] && have[i+1] == detoured[i+1] {
		return false, true
	}
	// to this very stub: another table may have the same functions
	led = bytes.Equal(have, detoured)
	return led, led || bytes.Equal(have[i:], plain[i:])
}

// window returns the bytes around the entry, as they are with or without the detour, from the first
// to the last that may differ.
func (s *site) window(stub uint64, detoured bool) (at uint64, b []byte) {
	if s.kind == kindCode {
		at, b = s.place(), bytes.Clone(s.at[:s.n])
	} else {
		at = s.entry - beforeLen
		b = bytes.Clone(s.before[:])
		if s.landing {
			b = append(b, endbr64...)
		}
		b = append(b, s.at[:atLen]...)
	}
	if detoured {
		writes, err := s.detour(stub)
		if err != nil {
			return at, b
		}
		for _, w := range writes {
			copy(b[w.addr-at:], w.data)
		}
	}
	return at, b
}
