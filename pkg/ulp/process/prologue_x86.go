package process

import "bytes"

// On x86_64 there are 14 NOPs of one byte before the symbol, and two bytes at it, behind endbr64 if it begins with that:
// two NOPs, or one of two bytes (66 90). In a detour the two bytes are a short jump (eb) to the 14, which are then
//
//	ff 25 00 00 00 00    jmp *0(%rip)
//	.quad TARGET
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
)

var entryX86 = entryFormat{before: x86Before, after: x86Landing + x86Entry, align: 1, decode: decodeX86}

func decodeX86(p *Prologue) {
	entry, back := p.After, byte(x86Before+x86Entry)
	if bytes.HasPrefix(entry, x86Endbr64) {
		p.Landing = true
		entry, back = entry[x86Landing:], back+x86Landing
	}
	entry = entry[:x86Entry]
	var target uint64 // of the jump before the entry
	if bytes.HasPrefix(p.Before, x86Jump) {
		target = le.Uint64(p.Before[len(x86Jump):])
	}
	p.Single = bytes.Equal(entry, x86One)
	switch {
	case (p.Single || bytes.Equal(entry, x86Two)) && (target != 0 || bytes.Equal(p.Before, x86NOPs)):
		p.State, p.Stale = EntryNOPs, target
	case entry[0] == 0xeb && entry[1] == -back && target != 0:
		p.State, p.Target = EntryDetour, target
	default:
		p.Single = false
	}
}
