// Package prove says where x86_64 code can be led elsewhere: at which functions there are NOPs for that, and at which others
// a jump may be written over the first instructions. It looks at bytes alone, so that the gate of a build, which has the
// library's file or what was once said of it, and the engine, which has a process, come to the same answer.
//
// Nothing here knows files or processes.
package prove

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// Version changes when the same code could get another answer than before: an answer that was written down is good for its
// version alone.
const Version = 3

// Sizes, in bytes, and bounds.
const (
	// NearLen is the length of the jump that is written where there are no NOPs.
	NearLen = 5
	// LandingLen is the length of endbr64, which stays where it is.
	LandingLen = 4
	// CodeLen is the most that whole instructions over a jump can have: one byte missing to five, and one of fifteen.
	CodeLen = 20
	// BeforeLen and AtLen are the NOPs before the symbol, and at the entry.
	BeforeLen = 14
	AtLen     = 2
	// Window is what has to be there around an entry, from BeforeLen bytes in front of it.
	Window = BeforeLen + LandingLen + CodeLen
	// MaxFunction bounds what is decoded: glibc's largest function has 30 KiB.
	MaxFunction = 1 << 20
	// MaxText bounds the code that is searched for branches: Chrome's has more.
	MaxText = 32 << 20

	pageSize = 4096
)

var (
	landing = []byte{0xf3, 0x0f, 0x1e, 0xfa}
	nops    = bytes.Repeat([]byte{0x90}, BeforeLen)
	oneNOP  = []byte{0x66, 0x90}
)

// Error says why no jump can be put at the entry of a function.
type Error struct {
	Why   string // the same words for all functions of which the same is true
	Where string // places in the function; "" if there are none
}

// Error returns both.
func (e *Error) Error() string {
	if e.Where == "" {
		return e.Why
	}
	return e.Why + " (" + e.Where + ")"
}

func no(why, where string, args ...any) error { return &Error{why, fmt.Sprintf(where, args...)} }

// Reasons that others find.
var (
	ErrSize    error = &Error{Why: "its size is not known"}
	ErrText    error = &Error{Why: "the library's code is too large to be searched for branches into it"}
	ErrOutside error = &Error{Why: "it is not in the library's code"}
)

// Entered is the reason that something at an address of the library may lead into the first bytes of a function.
func Entered(from uint64) error {
	return no("what may be a branch elsewhere leads into its first bytes", "from %#x", from)
}

// HasNOPs recognises the NOPs of -fpatchable-function-entry=16,14, behind endbr64 if there is one, as they are or made one
// by `ulp post`. window begins BeforeLen bytes in front of the symbol, and must have Window bytes.
func HasNOPs(window []byte) bool {
	if len(window) < Window || !bytes.HasPrefix(window, nops) {
		return false
	}
	at := bytes.TrimPrefix(window[BeforeLen:], landing)
	return bytes.HasPrefix(at, oneNOP) || bytes.HasPrefix(at, nops[:AtLen])
}

// Place is where a jump may be written in a function.
type Place struct {
	Landing bool // behind endbr64
	N       int  // bytes that it replaces, as whole instructions: NearLen to CodeLen
}

// Off returns the place's offset in the function.
func (p Place) Off() int {
	if p.Landing {
		return LandingLen
	}
	return 0
}

// Entry proves that a jump of five bytes may be written at the beginning of a function without NOPs, or returns an [*Error].
// code is the whole function, from its symbol on and as long as that says, and addr its address.
//
// The jump replaces whole instructions, behind endbr64 if the function begins with that. It is safe if
//
//   - the function is long enough, and everything in it can be decoded;
//   - no branch in it leads to what is replaced, and it does not branch through a table, which could lead anywhere;
//   - what is replaced makes no call, to which something could return, and does not branch itself; and there is no other endbr64
//     in it, which says that something does lead there;
//   - it lies in one page, so that it is there at once;
//   - the instructions can be carried out at another place. They have to be as long as not all functions of a live patch
//     have been switched.
//
// Besides, nothing elsewhere in the library may lead into it: see [Text.EntersAt].
func Entry(code []byte, addr uint64) (Place, error) {
	if len(code) > MaxFunction {
		return Place{}, no("it is too long to be looked through", "%d bytes", len(code))
	}
	p := Place{Landing: bytes.HasPrefix(code, landing)}
	first := p.Off()
	for p.N < NearLen {
		in, err := within(code, first+p.N)
		if err != nil {
			return Place{}, err
		}
		if in.size == 0 {
			return Place{}, no(fmt.Sprintf("the function has %d bytes, and a jump needs %d", p.N, NearLen), "")
		}
		if err := in.replaceable(code); err != nil {
			return Place{}, err
		}
		if bytes.HasPrefix(code[first+p.N:], landing) {
			return Place{}, no("endbr64 within its first bytes", "")
		}
		p.N += in.size
	}
	if at := addr + uint64(first); at/pageSize != (at+NearLen-1)/pageSize {
		return Place{}, no("its first bytes are in two pages", "")
	}
	for off := 0; off < len(code); {
		in, err := within(code, off)
		if err != nil {
			return Place{}, err
		}
		if err := in.leadsInto(code, first, first+p.N); err != nil {
			return Place{}, err
		}
		off += in.size
	}
	return p, nil
}

// within returns the instruction at an offset of a function.
func within(code []byte, off int) (instruction, error) {
	in, why := decode(code, off)
	if why != "" {
		return in, no(why, "at +%#x", off)
	}
	return in, nil
}

// replaceable reports whether an instruction may be replaced, and carried out elsewhere. The other decoder has to agree.
func (in *instruction) replaceable(code []byte) error {
	switch in.flow {
	case next:
		return in.agreed(code)
	case branch:
		return no("a conditional jump within its first bytes", "")
	case jump, jumpAnywhere:
		return no("a jump within its first bytes", "")
	case call, callAnywhere:
		return no("a call within its first bytes", "")
	case leave:
		return no("a return within its first bytes", "")
	case system:
		return no("a system call within its first bytes", "")
	}
	return no("a trap within its first bytes", "")
}

// ErrMove is the reason that the first instructions can only be carried out where they are.
var ErrMove error = &Error{Why: "its first instructions cannot be moved"}

// agreed reports whether another decoder finds the same length in an instruction that is to be carried out elsewhere, and the
// same distance to memory.
func (in *instruction) agreed(code []byte) error {
	if bytes.HasPrefix(code[in.off:], landing) {
		return nil // which that decoder takes for something shorter
	}
	other, err := x86asm.Decode(code[in.off:], 64)
	if err != nil || other.Op == 0 || other.Len != in.size {
		return ErrMove
	}
	if in.leads() {
		return nil
	}
	if other.PCRel != 0 && other.PCRel != 4 || (other.PCRel == 4) != (in.rip != 0) || in.rip != 0 && other.PCRelOff != in.rip {
		return ErrMove
	}
	return nil
}

// leadsInto returns an error if an instruction may continue in [from, to).
func (in *instruction) leadsInto(code []byte, from, to int) error {
	if in.leads() && in.target >= from && in.target < to {
		return no("a branch in it leads into its first bytes", "from +%#x to +%#x", in.off, in.target)
	}
	if in.flow != jumpAnywhere {
		return nil
	}
	if modrm := code[in.off+in.modrm]; in.rip != 0 && modrm>>3&7 == 4 {
		return nil // through a pointer to a function: a call at the end
	}
	return no("a jump in it may lead anywhere in it", "at +%#x", in.off)
}

// Moved returns the first instructions of a function, which are to be carried out at another address instead of at addr, and
// have addresses relative to themselves mended. ok is false if these do not reach from there.
func Moved(code []byte, addr, to uint64) (out []byte, ok bool, err error) {
	for off := 0; off < len(code); {
		in, err := within(code, off)
		if err != nil {
			return nil, false, err
		}
		if err := in.replaceable(code); err != nil {
			return nil, false, err
		}
		b := bytes.Clone(code[off : off+in.size])
		if in.rip != 0 {
			field := b[in.rip:]
			target := addr + uint64(off+in.size) + uint64(int64(int32(binary.LittleEndian.Uint32(field))))
			d := int64(target - to - uint64(len(out)+in.size))
			if d != int64(int32(d)) {
				return nil, false, nil
			}
			binary.LittleEndian.PutUint32(field, uint32(d))
		}
		out = append(out, b...)
		off += in.size
	}
	return out, true, nil
}
