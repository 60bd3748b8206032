package hotpatch

import (
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// GCC knows which registers a function leaves alone, and so do the functions that it calls: a
// caller may rely on what is left alone by a function that calls another one, or on the registers
// for results where the function has none. Both show only to somebody who knows what the function
// writes, with everything that it calls.

// Reliances finds the functions of the text that callers rely on to leave registers alone, by their
// addresses: those that are called, and those that these call. It takes the time to decode all of
// the text. Not found is what callers rely on of a function that calls or jumps through a register,
// since what that writes is not known.
func (t *Text) Reliances() (map[uint64]Reliance, error) {
	if t.Frames == nil {
		return nil, nil
	}
	a := reliances{t: t, sizes: map[uint64]uint64{}, after: map[uint64]*wanted{},
		found: map[uint64]Reliance{}, bodies: map[uint64]body{}}
	end := t.Addr + uint64(len(t.Code))
	if err := t.Frames.functions(t.Addr, end, func(entry, size uint64) {
		if entry >= t.Addr && size <= MaxFunction && entry+size <= end {
			a.sizes[entry] = size
		}
	}); err != nil {
		return nil, err
	}
	entries := make([]uint64, 0, len(a.sizes))
	for entry := range a.sizes {
		entries = append(entries, entry)
	}
	slices.Sort(entries)
	for _, entry := range entries {
		a.calls(entry)
	}
	for _, entry := range entries {
		if w := a.after[entry]; w != nil && mayReturn(a.code(entry)) {
			a.judge(entry, w)
		}
		if a.steps > overlap*len(t.Code)+1<<20 {
			return nil, ErrCalls
		}
	}
	return a.found, nil
}

// reliances is the state of one search.
type reliances struct {
	t     *Text
	sizes map[uint64]uint64  // of functions, by address
	after map[uint64]*wanted // what callers want after a call of a function
	found map[uint64]Reliance
	// bodies are those that were looked at.
	bodies map[uint64]body
	// bytes that were decoded, and calls that were followed: hostile code makes any number of it
	steps int
}

// ErrCalls means that it cannot be known what callers rely on.
var ErrCalls error = &Error{Why: "the library has too many calls to follow each"}

// wanted are registers that code reads after calls of a function, and for each the first of those
// calls.
type wanted struct {
	registers registers
	calls     [32]uint64
}

func (a *reliances) code(entry uint64) []byte { return a.t.Code[entry-a.t.Addr:][:a.sizes[entry]] }

// calls notes what a function wants after its calls.
func (a *reliances) calls(entry uint64) {
	code := a.code(entry)
	for off := 0; off < len(code); {
		in, why := decode(code, off)
		if why != "" {
			return
		}
		off += in.size
		to := entry + uint64(int64(in.target))
		if in.flow != call || !in.leads() || a.sizes[to] == 0 {
			continue
		}
		if reads := readFirst(code[off:]); reads != 0 {
			w := a.after[to]
			if w == nil {
				w = new(wanted)
				a.after[to] = w
			}
			for i := range w.calls {
				if reads&^w.registers&(1<<i) != 0 {
					w.calls[i] = entry + uint64(in.off)
				}
			}
			w.registers |= reads
		}
	}
}

// maxReached bounds how many functions are looked at that one calls, and how many calls one has.
const maxReached = 256

// judge finds out whether a function and all that it calls leave a register alone that is wanted
// after it.
func (a *reliances) judge(entry uint64, w *wanted) {
	reached, left := []uint64{entry}, w.registers
	for i := 0; i < len(reached) && left != 0; i++ {
		b := a.body(reached[i], left)
		if left &^= b.writes; !b.known || len(reached) > maxReached {
			return
		}
		a.steps += len(b.callees)
		for _, c := range b.callees {
			if !slices.Contains(reached, c) {
				reached = append(reached, c)
			}
		}
	}
	if left == 0 {
		return
	}
	r := Reliance{Call: w.calls[left.first()], Register: "%" + left.name()}
	for _, f := range reached {
		if _, ok := a.found[f]; !ok {
			if r.Through = 0; f != entry {
				r.Through = entry
			}
			a.found[f] = r
		}
	}
}

// body is what a function writes by itself, and what it calls and jumps to.
type body struct {
	writes  registers
	callees []uint64
	known   bool // all of that is
}

// body returns what is known of a function, or only as much as shows that it writes all of some
// registers.
func (a *reliances) body(entry uint64, enough registers) (b body) {
	if b, ok := a.bodies[entry]; ok {
		return b
	}
	for code, off := a.code(entry), 0; ; {
		if off == len(code) {
			b.known = true
			break
		}
		in, why := decode(code, off)
		if why != "" || in.flow == callAnywhere || in.flow == jumpAnywhere {
			break
		}
		if in.leads() && (in.flow == call || in.target < 0 || in.target >= len(code)) {
			to := entry + uint64(int64(in.target))
			if a.sizes[to] == 0 || len(b.callees) > maxReached {
				break
			}
			if !slices.Contains(b.callees, to) {
				b.callees = append(b.callees, to)
			}
		}
		if inst, err := x86asm.Decode(code[off:], 64); err != nil || inst.Len != in.size {
			b.writes |= unknownWrites
		} else {
			_, w := effects(&inst)
			b.writes |= w
		}
		a.steps += in.size
		if enough&^b.writes == 0 {
			return b // which another call may not be content with
		}
		off += in.size
	}
	a.bodies[entry] = b
	return b
}

// registers is a set of registers that calls need not keep: bit n is the general one of that
// number, bit 16+n a vector register.
type registers uint32

const (
	rax, rcx, rdx registers = 1 << 0, 1 << 1, 1 << 2
	rsi, rdi, r11 registers = 1 << 6, 1 << 7, 1 << 11

	// clobbered are those that the ABI lets a function change.
	clobbered = rax | rcx | rdx | rsi | rdi | 0xf<<8 | 0xffff<<16
	// unknownWrites are those that an instruction may write which only one of the decoders knows:
	// one of AVX or BMI.
	unknownWrites = clobbered
)

// registerOf returns the set of a register and those that it is a part of.
func registerOf(r x86asm.Reg) registers {
	switch r = whole(r); {
	case r >= x86asm.RAX && r <= x86asm.R15:
		return 1 << (r - x86asm.RAX) & clobbered
	case r >= x86asm.X0 && r <= x86asm.X15:
		return 1 << (16 + r - x86asm.X0)
	}
	return 0
}

// first returns the number of the first register of a set.
func (s registers) first() int {
	for i := range 32 {
		if s>>i&1 != 0 {
			return i
		}
	}
	return 0
}

// name returns the name of the first register of a set.
func (s registers) name() string {
	if i := s.first(); i < 16 {
		return registerName(x86asm.RAX + x86asm.Reg(i))
	}
	return registerName(x86asm.X0 + x86asm.Reg(s.first()-16))
}

// readFirst returns the registers that code reads before it writes them, as far as it goes straight
// on.
func readFirst(code []byte) (reads registers) {
	var written registers
	for range reliedMost {
		in, why := decode(code, 0)
		inst, err := x86asm.Decode(code, 64)
		if why != "" || in.size == 0 || in.flow != next || err != nil || inst.Len != in.size ||
			inst.Op == x86asm.NOP {
			break
		}
		r, w := effects(&inst)
		reads |= r &^ written
		written |= w
		code = code[in.size:]
	}
	return reads
}

// effects returns which registers an instruction reads, and which it writes.
func effects(inst *x86asm.Inst) (reads, changes registers) {
	reads, changes = implied(inst)
	only := writes(inst)
	for i, arg := range inst.Args {
		switch a := arg.(type) {
		case x86asm.Mem:
			reads |= registerOf(a.Base) | registerOf(a.Index)
		case x86asm.Reg:
			if i > 0 && (a != inst.Args[0] || inst.Op == x86asm.MOV) || i == 0 && !only {
				reads |= registerOf(a)
			}
			if i == 0 && inst.Op != x86asm.PUSH || exchanges(inst.Op) {
				changes |= registerOf(a)
			}
		}
	}
	switch inst.Op {
	case x86asm.CMP, x86asm.TEST, x86asm.BT, x86asm.COMISS, x86asm.COMISD, x86asm.UCOMISS,
		x86asm.UCOMISD, x86asm.PTEST:
		changes = 0
	}
	return reads, changes
}

func exchanges(op x86asm.Op) bool { return op == x86asm.XCHG || op == x86asm.XADD }

// implied returns what an instruction reads and writes without naming it.
func implied(inst *x86asm.Inst) (reads, writes registers) {
	switch inst.Op {
	case x86asm.CBW, x86asm.CWDE, x86asm.CDQE:
		return rax, rax
	case x86asm.CWD, x86asm.CDQ, x86asm.CQO:
		return rax, rdx
	case x86asm.MUL:
		return rax, rax | rdx
	case x86asm.IMUL:
		if inst.Args[1] == nil {
			return rax, rax | rdx
		}
	case x86asm.DIV, x86asm.IDIV:
		return rax | rdx, rax | rdx
	case x86asm.CMPXCHG:
		return rax, rax
	case x86asm.CMPXCHG8B, x86asm.CMPXCHG16B:
		return rax | rdx | rcx, rax | rdx
	case x86asm.CPUID:
		return rax | rcx, rax | rcx | rdx
	case x86asm.RDTSC, x86asm.RDTSCP, x86asm.XGETBV, x86asm.RDPMC:
		return rcx, rax | rdx | rcx
	case x86asm.SYSCALL:
		return rax, rax | rcx | r11
	case x86asm.STOSB, x86asm.STOSW, x86asm.STOSD, x86asm.STOSQ, x86asm.SCASB, x86asm.SCASW,
		x86asm.SCASD, x86asm.SCASQ:
		return rax | rdi, rdi | rcx
	case x86asm.LODSB, x86asm.LODSW, x86asm.LODSD, x86asm.LODSQ:
		return rsi, rax | rsi | rcx
	case x86asm.MOVSB, x86asm.MOVSW, x86asm.MOVSD, x86asm.MOVSQ, x86asm.CMPSB, x86asm.CMPSW,
		x86asm.CMPSD, x86asm.CMPSQ:
		return rsi | rdi, rsi | rdi | rcx
	case x86asm.LAHF, x86asm.XLATB, x86asm.IN:
		return rax, rax
	}
	return 0, 0
}
