package prove

// int3 is the instruction of breakpoints: uprobes and debuggers write it over the first byte of another one.
const int3 = 0xcc

// Breakpoint reports whether one of the instructions is a breakpoint. Where it cannot be told what an instruction is, that byte
// counts as one anywhere in the rest.
func Breakpoint(code []byte) bool {
	for off := 0; off < len(code); {
		if code[off] == int3 {
			return true
		}
		in, why := decode(code, off)
		if why != "" || in.size == 0 {
			for _, b := range code[off:] {
				if b == int3 {
					return true
				}
			}
			return false
		}
		off += in.size
	}
	return false
}
