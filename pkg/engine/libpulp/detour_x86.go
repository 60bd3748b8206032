package libpulp

// On x86_64 libpulp.so switches a function with one write from 14 bytes before its entry on:
//
//	ff 25 00 00 00 00    jmp *0(%rip)
//	.quad TARGET
//	f3 0f 1e fa          endbr64, where the function begins with it
//	eb XX                jmp back to the first
//
// and switches it back with a NOP of two bytes in the place of the short jump.
const (
	jumpSize    = 14 // the absolute jump
	landingSize = 4
	shortSize   = 2
)

var (
	absolute = [6]byte{0xff, 0x25}
	endbr64  = [landingSize]byte{0xf3, 0x0f, 0x1e, 0xfa}
	nop2     = [shortSize]byte{0x66, 0x90}
)

// detour returns the bytes from 14 before a function's entry on that make it jump to target.
func detour(target uint64, landing bool) []byte {
	b := le.AppendUint64(append(make([]byte, 0, jumpSize+landingSize+shortSize), absolute[:]...),
		target)
	if landing {
		b = append(b, endbr64[:]...)
	}
	return append(b, 0xeb, byte(-(len(b) + shortSize)))
}

// undetour returns the address and the bytes that make a function run itself.
func undetour(entry uint64, landing bool) write {
	if landing {
		entry += landingSize
	}
	return write{entry, nop2[:]}
}
