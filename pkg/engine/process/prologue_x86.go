package process

import (
	"bytes"
)

// On x86_64 there are 14 NOPs of one byte before the symbol, and two bytes at it, after endbr64 if
// it begins with that: two NOPs, or one of two bytes (66 90). In a detour the two bytes are a short
// jump (eb) to the 14, which are then one of
//
//	ff 25 00 00 00 00    jmp *0(%rip)           libpulp, and lpbuild before it knew the others
//	.quad TARGET
//
//	e9 DISTANCE          jmp TARGET             lpbuild: reads no code, which may be execute-only
//	90 (9 times)         nop
//
//	49 bb TARGET         movabs $TARGET, %r11   lpbuild, where TARGET is out of reach
//	41 ff e3             jmp *%r11
//	90                   nop
const (
	x86Before  = 14
	x86Landing = 4
	x86Entry   = 2
)

var (
	x86Endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}
	x86Jump    = []byte{0xff, 0x25, 0, 0, 0, 0}
	x86NOPs    = bytes.Repeat([]byte{0x90}, x86Before)
	x86Two     = []byte{0x90, 0x90}
	x86One     = []byte{0x66, 0x90}
	x86Near    = []byte{0xe9}
	x86Load    = []byte{0x49, 0xbb}
	x86Loaded  = []byte{0x41, 0xff, 0xe3, 0x90}
)

var entryX86 = entryFormat{before: x86Before, after: x86Landing + x86Entry, align: 1,
	decode: decodeX86}

func decodeX86(p *Prologue, addr uint64) {
	entry, back := p.After, byte(x86Before+x86Entry)
	if bytes.HasPrefix(entry, x86Endbr64) {
		p.Landing = true
		entry, back = entry[x86Landing:], back+x86Landing
	}
	entry = entry[:x86Entry]
	target := targetX86(p.Before, addr)
	p.Single = bytes.Equal(entry, x86One)
	switch {
	case (p.Single || bytes.Equal(entry, x86Two)) &&
		(target != 0 || bytes.Equal(p.Before, x86NOPs)):
		p.State, p.Stale = EntryNOPs, target
	case entry[0] == 0xeb && entry[1] == -back && target != 0:
		p.State, p.Target = EntryDetour, target
	default:
		p.Single = false
	}
}

// targetX86 returns where the jump before an entry leads to; 0: there is none.
func targetX86(before []byte, addr uint64) uint64 {
	switch {
	case bytes.HasPrefix(before, x86Jump):
		return le.Uint64(before[len(x86Jump):])
	case bytes.HasPrefix(before, x86Load) && bytes.HasSuffix(before, x86Loaded):
		return le.Uint64(before[len(x86Load):])
	case bytes.HasPrefix(before, x86Near) && bytes.Equal(before[5:], x86NOPs[5:]):
		return addr - x86Before + 5 + uint64(int64(int32(le.Uint32(before[1:]))))
	}
	return 0
}
