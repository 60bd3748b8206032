package hotpatch

import (
	"strconv"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// A function may leave alone registers that the ABI lets it change, and a compiler that sees both
// may have a caller of the same source file keep something there (GCC's -fipa-ra, on by default
// from -O2 on): glibc's initstate_r keeps a pointer in %r11 while srandom_r runs. A replacement
// knows nothing of that, and so the caller would go on with garbage.
//
// Such a caller shows by what follows the call: it reads a register that neither has a result nor
// has been written since. See also [Text.Reliances].

// Compiling with -fpatchable-function-entry switches -fipa-ra off. The attribute of that name on a
// single function does not, and assembly knows no such options: so functions with NOPs are looked
// at, too.

// ErrRelied is the reason that only the function itself is known to leave registers alone that its
// callers need.
var ErrRelied error = &Error{Why: "a caller in the library relies on registers that it leaves " +
	"alone"}

// RegistersVersion changes when [Text.Relied] could give another answer to the same code than
// before.
const RegistersVersion = 1

// Reliance is a call whose caller relies on a register that the called function leaves alone.
type Reliance struct {
	Call uint64 // the address of the call
	// the function that is called there, if it is another one, which calls this one; else 0
	Through  uint64
	Register string // "%r11"; "" if there are too many calls to look at each
}

// reliedMost is how many instructions after a call are looked at.
const reliedMost = 16

// Relied finds a caller of the function at an address that relies on registers which functions may
// change. It is for functions with NOPs, which need no other proof; size is 0 if it is not known.
func (t *Text) Relied(addr, size uint64) (r Reliance, found bool) {
	if r, found = t.relied(addr); !found || size == 0 || size > MaxFunction ||
		addr-t.Addr > uint64(len(t.Code)) ||
		size > uint64(len(t.Code))-(addr-t.Addr) {
		return r, found
	}
	return r, mayReturn(t.Code[addr-t.Addr:][:size])
}

// mayReturn reports whether a function may return, by itself or by what it jumps to. What follows a
// call of one that does not is another's code.
func mayReturn(code []byte) bool {
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" || in.leavesTo(len(code)) {
			return true
		}
		off += in.size
	}
	return false
}

// leavesTo reports whether an instruction returns, or jumps out of a function that is so long.
func (in *instruction) leavesTo(size int) bool {
	return in.flow == leave || in.flow == jumpAnywhere || in.leads() && in.flow != call &&
		(in.target < 0 || in.target >= size)
}

// relied finds a caller of the function at an address that relies on registers which functions may
// change.
func (t *Text) relied(addr uint64) (Reliance, bool) {
	if !t.targets.has(addr - t.Addr) {
		return Reliance{}, false // as usual, or nothing is known but the function
	}
	if len(t.calls) > len(t.Code)/NearLen {
		return Reliance{}, true
	}
	for _, c := range t.calls {
		if uint64(c.to) != addr-t.Addr {
			continue
		}
		if t.callers++; t.callers > maxCallers {
			return Reliance{}, true
		}
		if r := relies(t.Code[c.at+NearLen:]); r != 0 {
			return Reliance{Call: t.Addr + uint64(c.at), Register: "%" + registerName(r)}, true
		}
	}
	return Reliance{}, false
}

// registerName returns how assemblers name a register.
func registerName(r x86asm.Reg) string {
	if r >= x86asm.X0 && r <= x86asm.X15 {
		return "xmm" + strconv.Itoa(int(r-x86asm.X0))
	}
	return strings.ToLower(r.String())
}

// maxCallers bounds how many calls are looked at for all functions of a text.
const maxCallers = 1 << 20

// nearCall is what looks like a call in the text. Both are offsets there.
type nearCall struct{ at, to uint32 }

// called notes a call. There are no more than have room in the code, unless it is hostile.
func (t *Text) called(at int, to uint64) {
	if len(t.calls) <= len(t.Code)/NearLen {
		t.calls = append(t.calls, nearCall{uint32(at), uint32(to)})
	}
}

// relies returns a register that code after a call reads although the call may have changed it, 0
// if there is none.
func relies(code []byte) x86asm.Reg {
	var known [256]bool // registers that have been written
	for range reliedMost {
		in, why := decode(code, 0)
		inst, err := x86asm.Decode(code, 64)
		if why != "" || in.size == 0 || in.flow != next || err != nil || inst.Len != in.size {
			return 0
		}
		only := writes(&inst)
		for i, arg := range inst.Args {
			switch a := arg.(type) {
			case x86asm.Mem:
				for _, r := range []x86asm.Reg{a.Base, a.Index} {
					if changed(r, &known) {
						if inst.Op == x86asm.NOP {
							return 0
						}
						return whole(r)
					}
				}
			case x86asm.Reg:
				if changed(a, &known) &&
					(!only || i > 0 && (a != inst.Args[0] || inst.Op == x86asm.MOV)) {
					return whole(a)
				}
			}
		}
		if r, ok := inst.Args[0].(x86asm.Reg); ok {
			known[whole(r)] = true
		}
		code = code[in.size:]
	}
	return 0
}

// writes reports whether an instruction only writes its first operand.
func writes(inst *x86asm.Inst) bool {
	name := inst.Op.String()
	for _, p := range []string{"MOV", "LEA", "POP", "SET", "CVT", "BS", "PSHUF", "SQRT"} {
		if strings.HasPrefix(name, p) {
			return name != "MOVHPS" && name != "MOVLPS" && name != "MOVHPD" && name != "MOVLPD"
		}
	}
	switch inst.Op {
	case x86asm.XOR, x86asm.SUB, x86asm.SBB, x86asm.PXOR, x86asm.XORPS, x86asm.XORPD,
		x86asm.PCMPEQB, x86asm.PCMPEQD, x86asm.PCMPEQW:
		return inst.Args[0] == inst.Args[1]
	case x86asm.OR:
		return inst.Args[1] == x86asm.Imm(-1)
	case x86asm.AND:
		return inst.Args[1] == x86asm.Imm(0)
	case x86asm.IMUL:
		return inst.Args[2] != nil
	case x86asm.POPCNT, x86asm.TZCNT, x86asm.LZCNT:
		return true
	}
	return false
}

// changed reports whether a register holds what a call leaves there that need not keep it, and that
// is no result.
func changed(r x86asm.Reg, known *[256]bool) bool {
	switch r = whole(r); {
	case r == x86asm.RCX, r == x86asm.RSI, r == x86asm.RDI, r >= x86asm.R8 && r <= x86asm.R11,
		r >= x86asm.X2 && r <= x86asm.X15:
		return !known[r]
	}
	return false
}

// whole returns the register that another one is a part of.
func whole(r x86asm.Reg) x86asm.Reg {
	switch {
	case r >= x86asm.EAX && r <= x86asm.R15L:
		return r - x86asm.EAX + x86asm.RAX
	case r >= x86asm.AX && r <= x86asm.R15W:
		return r - x86asm.AX + x86asm.RAX
	case r >= x86asm.AL && r <= x86asm.BL:
		return r - x86asm.AL + x86asm.RAX
	case r >= x86asm.AH && r <= x86asm.BH:
		return r - x86asm.AH + x86asm.RAX
	case r >= x86asm.SPB && r <= x86asm.R15B:
		return r - x86asm.SPB + x86asm.RSP
	}
	return r
}
