package hotpatch

import (
	"bytes"
	"fmt"
	"slices"

	"golang.org/x/arch/x86/x86asm"
)

// Entry proves that a five-byte jump can safely be written at the beginning of a function without
// NOPs, or returns an [*Error]. addr is the function's address, size its length in bytes.
//
// The jump replaces whole instructions, after endbr64 if the function begins with that. It is safe
// if all of this holds:
//
//   - The whole function can be decoded. No branch in it targets the middle of an instruction, and
//     only the replaced instructions themselves branch to replaced bytes.
//   - No jump through a register or memory can target the replaced bytes: see [Text.tables].
//   - The replaced bytes contain no other endbr64, which would mean that something does target it.
//   - The replaced bytes are in one page, so that they change at once.
//   - Nothing elsewhere in the library targets them: see [Text.EntersAt] and [Text.waysInto].
//   - No caller in the library relies on more than the ABI guarantees: see [ErrRelied].
//   - The instructions can run at another address, where they are until all functions of a live
//     patch have been switched: see [Moved]. A call must be the last of them, and returns to where
//     it always did.
//
// A function that is shorter than the jump must be followed by padding that nothing targets.
func (t *Text) Entry(addr, size uint64) (Place, error) {
	off := addr - t.Addr
	if size == 0 || size > MaxFunction || addr < t.Addr || off > uint64(len(t.Code)) ||
		size > uint64(len(t.Code))-off {
		return Place{}, ErrSize
	}
	f := &function{t: t, addr: addr, code: t.Code[off:][:size], rest: t.Code[off:]}
	p, err := f.place()
	if err != nil {
		return Place{}, err
	}
	if err := f.scan(); err != nil {
		return Place{}, err
	}
	if err := f.entered(); err != nil {
		return Place{}, err
	}
	if f.returns {
		if _, found := t.relied(addr); found {
			return Place{}, ErrRelied
		}
	}
	return p, nil
}

// Proven returns the place that [Text.Entry] found, given that it returned no error, by the same
// [Version] of the rules. code is what stands at the function's beginning, at least
// LandingLen + CodeLen bytes. Functions that need padding after them are not looked at.
func Proven(code []byte, addr, size uint64) (Place, error) {
	if size == 0 || len(code) < LandingLen+CodeLen {
		return Place{}, ErrSize
	}
	f := &function{t: &Text{}, addr: addr, code: code[:min(size, uint64(len(code)))], rest: code}
	p, err := f.place()
	if err == nil && uint64(f.end) > size {
		err = ErrSize
	}
	if err != nil {
		return Place{}, err
	}
	return p, nil
}

// place finds what the jump replaces, from the function's first instructions alone.
func (f *function) place() (Place, error) {
	p := Place{Landing: bytes.HasPrefix(f.code, landing)}
	f.first = p.Off()
	if err := f.replaced(); err != nil {
		return Place{}, err
	}
	p.N = f.end - f.first
	if at := f.addr + uint64(f.first); at/pageSize != (at+NearLen-1)/pageSize {
		return Place{}, no("its first bytes are in two pages", "")
	}
	return p, nil
}

// Entry is [Text.Entry] of a function of which nothing else is known.
func Entry(code []byte, addr uint64) (Place, error) {
	t := Text{Code: code, Addr: addr}
	return t.Entry(addr, uint64(len(code)))
}

// function is one that is looked at. All offsets are from its beginning.
type function struct {
	t          *Text
	addr       uint64
	code       []byte        // all of it
	rest       []byte        // and what follows it
	first, end int           // what is replaced
	moved      []instruction // of it
	outside    []uint64      // where it jumps to elsewhere
	returns    bool          // by itself, or by what it jumps to
}

// at decodes the instruction at an offset.
func (f *function) at(code []byte, off int) (instruction, error) {
	in, why := decode(code, off)
	if why != "" {
		return in, no(why, "at +%#x", off)
	}
	return in, nil
}

// replaced finds the instructions that the jump replaces.
func (f *function) replaced() error {
	f.end = f.first
	for f.end < f.first+NearLen {
		in, err := f.next()
		if err != nil {
			return err
		}
		if err := in.movable(f.rest); err != nil {
			return err
		}
		if bytes.HasPrefix(f.rest[in.off:], landing) {
			return no("endbr64 within its first bytes", "")
		}
		f.moved = append(f.moved, in)
		f.end += in.size
		if (in.flow == call || in.flow == callAnywhere) && f.end < f.first+NearLen {
			return no("a call within its first bytes", "")
		}
	}
	if Breakpoint(f.rest[f.first:f.end]) {
		return no("a trap within its first bytes", "")
	}
	if _, n := layout(f.moved); n > MovedLen {
		return ErrMove
	}
	return nil
}

// next returns the next instruction that is to be replaced: padding, after the function's end.
func (f *function) next() (instruction, error) {
	if f.end < len(f.code) {
		return f.at(f.code, f.end)
	}
	short := no(fmt.Sprintf("the function has %d bytes, and a jump needs %d", f.end-f.first,
		NearLen), "")
	if n := len(f.moved); n == 0 || f.end == len(f.code) && f.moved[n-1].goesOn() {
		return instruction{}, short
	}
	in, why := decode(f.rest, f.end)
	if why != "" || in.size == 0 || !isPadding(f.rest[f.end:f.end+in.size]) {
		return in, short
	}
	if at, ok := f.t.nextStart(f.addr + uint64(len(f.code)) - 1); ok && at < f.addr+
		uint64(f.end+in.size) {
		return in, short
	}
	return in, nil
}

// isPadding reports whether an instruction is what assemblers and linkers fill gaps with.
func isPadding(code []byte) bool {
	if code[0] == 0xcc {
		return true
	}
	code = bytes.TrimLeft(code, "\x66\x2e")
	return len(code) == 1 && code[0] == 0x90 || len(code) > 2 && code[0] == 0x0f && code[1] == 0x1f
}

// goesOn reports whether the processor may go on after an instruction.
func (in *instruction) goesOn() bool {
	return in.flow != jump && in.flow != jumpAnywhere && in.flow != leave
}

// movable reports whether an instruction can be carried out elsewhere. The other decoder has to
// agree.
func (in *instruction) movable(code []byte) error {
	op := code[in.off+in.opcode]
	switch in.flow {
	case next, jump, call, jumpAnywhere:
	case branch:
		if op&0xf0 != 0x70 && op&0xf0 != 0x80 {
			return no("a loop instruction within its first bytes", "")
		}
	case callAnywhere: // its return address is pushed before it is carried out
		if m := code[in.off+in.modrm]; m&7 == 4 && m < 0xc0 && code[in.off+in.modrm+1]&7 == 4 ||
			m == 0xd4 || m&0x38 != 0x10 {
			return no("a call through the stack within its first bytes", "")
		}
	case leave:
		if op != 0xc2 && op != 0xc3 {
			return no("a far return within its first bytes", "")
		}
	case system:
		return no("a system call within its first bytes", "")
	default:
		if op == 0xcc && in.size == 1 {
			return nil // padding
		}
		return no("a trap within its first bytes", "")
	}
	return in.agreed(code)
}

// ErrMove is the reason that the first instructions can only be carried out where they are.
var ErrMove error = &Error{Why: "its first instructions cannot be moved"}

// agreed reports whether another decoder finds the same length in an instruction that is to be
// carried out elsewhere, and the same distance to memory or to where it leads.
func (in *instruction) agreed(code []byte) error {
	code = code[in.off:]
	if bytes.HasPrefix(code, landing) {
		return nil // which that decoder takes for something shorter
	}
	other, err := x86asm.Decode(code, 64)
	if err != nil || other.Op == 0 || other.Len != in.size {
		return ErrMove
	}
	for _, a := range other.Args {
		if rel, ok := a.(x86asm.Rel); ok != (in.leads() && a != nil) && a != nil || ok &&
			in.off+in.size+int(rel) != in.target {
			return ErrMove
		}
	}
	if !in.leads() && (other.PCRel != 0) != (in.rip != 0) || in.rip != 0 &&
		(other.PCRel != 4 || other.PCRelOff != in.rip) {
		return ErrMove
	}
	return nil
}

// scan looks at all instructions of the function.
func (f *function) scan() error {
	starts := make([]uint64, len(f.code)/64+1)
	var targets []int
	var jumps []indirect
	var leas []uint64
	var recent [4]instruction
	inner := false
	for off := 0; off < len(f.code); {
		in, err := f.at(f.code, off)
		if err != nil {
			return err
		}
		starts[off/64] |= 1 << (off % 64)
		f.returns = f.returns || in.leavesTo(len(f.code))
		switch {
		case in.leads():
			if err := f.leadsInto(&in); err != nil {
				return err
			}
			if in.target > 0 && in.target < len(f.code) {
				targets = append(targets, in.target)
				inner = inner || in.flow == call
			} else if in.flow != call && (in.target < 0 || in.target >= len(f.code)) {
				f.outside = append(f.outside, f.addr+uint64(int64(in.target)))
			}
		case in.flow == jumpAnywhere && in.rip == 0:
			// else it is through a pointer to a function: a call at the end
			jumps = append(jumps, indirect{in, recent})
		case in.rip != 0 && f.code[off+in.opcode] == 0x8d && in.modrm == in.opcode+1:
			leas = append(leas, f.addr+uint64(off+in.size)+distance(f.code[off+in.rip:]))
		}
		recent[3], recent[2], recent[1], recent[0] = recent[2], recent[1], recent[0], in
		off += in.size
	}
	for _, to := range targets {
		if starts[to/64]>>(to%64)&1 == 0 &&
			(f.code[to-1] != 0xf0 || starts[(to-1)/64]>>((to-1)%64)&1 == 0) { // past lock
			return no("a branch in it leads between its instructions, so that they are not what "+
				"they seem", "to +%#x", to)
		}
	}
	if len(jumps) == 0 {
		return nil
	}
	return f.tables(jumps, leas, inner)
}

// leadsInto returns an error if an instruction leads to what is replaced, unless it is replaced
// itself. A call of the function by itself arrives at the jump as any other.
func (f *function) leadsInto(in *instruction) error {
	switch {
	case in.target < f.first || in.target >= f.end,
		in.flow == call && in.target == 0:
		return nil
	case in.off >= f.first && in.off < f.end && in.flow != call && slices.ContainsFunc(f.moved,
		func(m instruction) bool { return m.off == in.target }):
		return nil
	}
	return no("a branch in it leads into its first bytes", "from +%#x to +%#x", in.off, in.target)
}

// entered returns an error if anything elsewhere in the library leads to what is replaced.
func (f *function) entered() error {
	from, to := f.addr+uint64(f.first), f.addr+uint64(f.end)
	if err := f.t.waysInto(f.addr, from, to); err != nil {
		return err
	}
	if err := f.parts(); err != nil {
		return err
	}
	switch at, found, err := f.t.entersAt(from, to, inside{f.addr, f.addr + uint64(len(f.code))}); {
	case err != nil:
		return err
	case found:
		return Entered(at)
	}
	return nil
}

// ErrPart is the reason that a jump to the function's beginning may be a loop: what jumps there is
// where the function jumps to, as to a part of it that compilers put elsewhere (.cold).
var ErrPart error = &Error{Why: "what may be a part of it elsewhere leads to its beginning"}

// parts returns an error if something that the function jumps to jumps to its beginning.
func (f *function) parts() error {
	first := f.addr + uint64(f.first)
	if t := f.t; !t.targets.has(f.addr-t.Addr) && !t.targets.has(first-t.Addr) {
		return nil // as usual, or nothing is known but the function
	}
	for _, at := range f.outside {
		back, err := f.t.branches(at, func(in flow, target uint64) bool {
			return in != call && (target == f.addr || target == first)
		})
		if err != nil {
			return err
		}
		if back {
			return ErrPart
		}
	}
	return nil
}
