package hotpatch

// The code of an indirect function (IFUNC) returns the address of the implementation, which it
// makes with lea, or reads from a table or from a slot that the loader has filled. So the addresses
// in that code, and in what it calls, are all that it can return.

// ResolversVersion changes when the same code could get another answer than before.
const ResolversVersion = 1

// ErrReturns is the reason that the code forms no address of a function.
var ErrReturns error = &Error{Why: "its code makes no address of a function"}

// Leads is what the code of a function refers to.
type Leads struct {
	Taken   []uint64 // addresses that it makes
	Read    []uint64 // addresses of memory that it reads or writes
	Entered []uint64 // code elsewhere that it calls or jumps to
}

// LeadsOf returns what the code of a function refers to, by direct addresses.
func LeadsOf(code []byte, addr uint64) (Leads, error) {
	var l Leads
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" {
			return Leads{}, no(why, "at +%#x", off)
		}
		switch {
		case in.leads():
			if in.target < 0 || in.target >= len(code) {
				l.Entered = append(l.Entered, addr+uint64(int64(in.target)))
			}
		case in.rip == 0:
		case code[off+in.opcode] == 0x8d && in.modrm == in.opcode+1: // lea
			l.Taken = append(l.Taken, addr+uint64(off+in.size)+distance(code[off+in.rip:]))
		default:
			l.Read = append(l.Read, addr+uint64(off+in.size)+distance(code[off+in.rip:]))
		}
		off += in.size
	}
	return l, nil
}
