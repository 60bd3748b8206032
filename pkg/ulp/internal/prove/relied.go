package prove

import (
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// A function may leave alone registers that the ABI lets it change, and a compiler that sees both may have a caller of the same
// source file keep something there (GCC's -fipa-ra, on by default from -O2 on): glibc's initstate_r keeps a pointer in %r11 while
// srandom_r runs. A replacement knows nothing of that, and so the caller would go on with garbage.
//
// Such a caller shows by what follows the call: it reads a register that neither has a result nor has been written since.

// ErrRelied is the reason that only the function itself is known to leave registers alone that its callers need.
var ErrRelied error = &Error{Why: "a caller in the library relies on registers that it leaves alone"}

// reliedMost is how many instructions after a call are looked at.
const reliedMost = 16

// relied reports whether a caller of the function at an address relies on registers that functions may change.
func (t *Text) relied(addr uint64) bool {
	if !t.targets.has(addr - t.Addr) {
		return false // as mostly, or nothing is known but the function
	}
	if len(t.calls) > len(t.Code)/NearLen {
		return true
	}
	for _, c := range t.calls {
		if uint64(c.to) != addr-t.Addr {
			continue
		}
		if t.callers++; t.callers > maxCallers || relies(t.Code[c.at+NearLen:]) {
			return true
		}
	}
	return false
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

// relies reports whether code after a call reads what the call may have changed.
func relies(code []byte) bool {
	var known [256]bool // registers that have been written
	for range reliedMost {
		in, why := decode(code, 0)
		inst, err := x86asm.Decode(code, 64)
		if why != "" || in.size == 0 || in.flow != next || err != nil || inst.Len != in.size {
			return false
		}
		only := writes(&inst)
		for i, arg := range inst.Args {
			switch a := arg.(type) {
			case x86asm.Mem:
				if changed(a.Base, &known) || changed(a.Index, &known) {
					return inst.Op != x86asm.NOP
				}
			case x86asm.Reg:
				if changed(a, &known) && (!only || i > 0 && (a != inst.Args[0] || inst.Op == x86asm.MOV)) {
					return true
				}
			}
		}
		if r, ok := inst.Args[0].(x86asm.Reg); ok {
			known[whole(r)] = true
		}
		code = code[in.size:]
	}
	return false
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
	case x86asm.XOR, x86asm.SUB, x86asm.SBB, x86asm.PXOR, x86asm.XORPS, x86asm.XORPD, x86asm.PCMPEQB, x86asm.PCMPEQD, x86asm.PCMPEQW:
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

// changed reports whether a register holds what a call leaves there that need not keep it, and that is no result.
func changed(r x86asm.Reg, known *[256]bool) bool {
	switch r = whole(r); {
	case r == x86asm.RCX, r == x86asm.RSI, r == x86asm.RDI, r >= x86asm.R8 && r <= x86asm.R11, r >= x86asm.X2 && r <= x86asm.X15:
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
