package hotpatch

import "bytes"

// int3 is the instruction of breakpoints: uprobes and debuggers write it over the first byte of
// another one.
const int3 = 0xcc

// Breakpoint reports whether one of the instructions is a breakpoint, and not padding: where the
// processor may arrive, by the one before or by a branch of theirs. Where it cannot be told what an
// instruction is, that byte counts as one anywhere in the rest.
func Breakpoint(code []byte) bool {
	reached, targets := true, map[int]bool{}
	for off := 0; off < len(code); {
		reached = reached || targets[off]
		if code[off] == int3 && reached {
			return true
		}
		in, why := decode(code, off)
		if why != "" || in.size == 0 {
			return bytes.IndexByte(code[off:], int3) >= 0
		}
		if in.leads() {
			targets[in.target] = true
		}
		reached = in.goesOn() && code[off] != int3
		off += in.size
	}
	return false
}
