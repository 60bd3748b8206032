package inject

import (
	"bytes"
	"fmt"

	"golang.org/x/arch/x86/x86asm"
)

// CheckEntry proves that a jump of five bytes may be written at the beginning of a function without NOPs, or says why not:
// the error wraps ErrEntry. code is the whole function, from its symbol on and as long as that says, and addr its address.
//
// The jump replaces whole instructions, behind endbr64 if the function begins with that. It is safe if
//
//   - the function is long enough, and everything in it can be decoded;
//   - no branch in it leads to what is replaced, and it does not branch through a table, which could lead anywhere;
//   - what is replaced makes no call, to which something could return, and does not branch itself;
//   - it lies in one page, so that it is there at once;
//   - the instructions can be carried out at another place. They have to be as long as not all functions of a live patch
//     have been switched.
//
// What only a running process shows is looked at there: that no thread stands inside, and that nothing in the library's
// code leads into it from elsewhere.
func CheckEntry(code []byte, addr uint64) error {
	_, err := codeSite(code, addr)
	return err
}

// maxFunction bounds what is decoded: glibc's largest function has 30 KiB.
const maxFunction = 1 << 20

// instruction is a decoded one.
type instruction struct {
	off int
	x86asm.Inst
}

// codeSite is CheckEntry with its result.
func codeSite(code []byte, addr uint64) (*site, error) {
	if len(code) > maxFunction {
		return nil, fmt.Errorf("%w: a function of %d bytes", ErrEntry, len(code))
	}
	s := &site{entry: addr, kind: kindCode, landing: bytes.HasPrefix(code, endbr64)}
	first := int(s.place() - addr)
	list, err := decode(code)
	if err != nil {
		return nil, err
	}
	for _, in := range list {
		if in.off < first || s.n >= nearLen {
			continue
		}
		if err := replaceable(in); err != nil {
			return nil, err
		}
		s.n += in.Len
	}
	if s.n < nearLen {
		return nil, fmt.Errorf("%w: the function has %d bytes, and a jump needs %d", ErrEntry, s.n, nearLen)
	}
	if s.place()/pageSize != (s.place()+nearLen-1)/pageSize {
		return nil, fmt.Errorf("%w: it crosses the end of a page", ErrEntry)
	}
	copy(s.at[:s.n], code[first:])
	for _, in := range list {
		if err := leadsInto(in, first, first+s.n); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// decode decodes the whole function. The decoder takes endbr64 for something shorter, and an unknown instruction for one
// without a name.
func decode(code []byte) ([]instruction, error) {
	var list []instruction
	for off := 0; off < len(code); {
		if bytes.HasPrefix(code[off:], endbr64) {
			list = append(list, instruction{off, x86asm.Inst{Op: x86asm.NOP, Len: landingLen}})
			off += landingLen
			continue
		}
		in, err := x86asm.Decode(code[off:], 64)
		if err != nil || in.Op == 0 || in.Len == 0 {
			return nil, fmt.Errorf("%w: the instruction at +%#x cannot be decoded, so that it is not known where the function "+
				"branches to", ErrEntry, off)
		}
		list = append(list, instruction{off, in})
		off += in.Len
	}
	return list, nil
}

// replaceable says whether an instruction may be replaced, and carried out elsewhere.
func replaceable(in instruction) error {
	switch in.Op {
	case x86asm.CALL, x86asm.LCALL, x86asm.SYSCALL, x86asm.SYSENTER, x86asm.INT, x86asm.INTO, x86asm.RET, x86asm.LRET,
		x86asm.IRET, x86asm.IRETD, x86asm.IRETQ, x86asm.JMP, x86asm.LJMP, x86asm.HLT, x86asm.UD1, x86asm.UD2, x86asm.XBEGIN:
		return fmt.Errorf("%w: %v within its first bytes", ErrEntry, in.Op)
	}
	if _, ok := branch(in); ok {
		return fmt.Errorf("%w: %v within its first bytes", ErrEntry, in.Op)
	}
	for _, a := range in.Args {
		if m, ok := a.(x86asm.Mem); ok && m.Base == x86asm.RIP && in.PCRel != 4 {
			return fmt.Errorf("%w: its first instructions cannot be moved", ErrEntry)
		}
	}
	return nil
}

// branch returns the place in the function that an instruction branches to, relative to its beginning.
func branch(in instruction) (int, bool) {
	for _, a := range in.Args {
		if rel, ok := a.(x86asm.Rel); ok {
			return in.off + in.Len + int(rel), true
		}
	}
	return 0, false
}

// leadsInto returns an error if an instruction may continue in [from, to).
func leadsInto(in instruction, from, to int) error {
	if t, ok := branch(in); ok && t >= from && t < to {
		return fmt.Errorf("%w: the instruction at +%#x branches to +%#x, within its first bytes", ErrEntry, in.off, t)
	}
	if in.Op != x86asm.JMP {
		return nil
	}
	switch a := in.Args[0].(type) {
	case x86asm.Rel:
		return nil
	case x86asm.Mem:
		if a.Base == x86asm.RIP && a.Index == 0 {
			return nil // a pointer to a function: a call at the end
		}
	}
	return fmt.Errorf("%w: the jump at +%#x may lead anywhere in it", ErrEntry, in.off)
}

// moved returns the instructions that a detour replaces, to be carried out at to, and a jump to what follows them.
// The place must be near enough if they have addresses relative to themselves.
func (s *site) moved(to uint64) ([]byte, error) {
	var out []byte
	for off := 0; off < s.n; {
		in, err := x86asm.Decode(s.at[off:s.n], 64)
		if err != nil || in.Op == 0 || in.PCRel != 0 && in.PCRel != 4 {
			return nil, fmt.Errorf("%w: its first instructions cannot be moved", ErrEntry)
		}
		b := bytes.Clone(s.at[off : off+in.Len])
		if in.PCRel == 4 {
			field := b[in.PCRelOff:]
			target := s.place() + uint64(off+in.Len) + uint64(int64(int32(le.Uint32(field))))
			d := int64(target - to - uint64(len(out)+in.Len))
			if d != int64(int32(d)) {
				return nil, ErrNoRoom
			}
			le.PutUint32(field, uint32(d))
		}
		out = append(out, b...)
		off += in.Len
	}
	return le.AppendUint64(append(out, absolute...), s.resume()), nil
}

// entersAt finds the first direct branch in code, wherever an instruction may begin in it, that leads between from and to,
// neither of them included. Data that looks like such a branch is taken for one.
func entersAt(code []byte, addr, from, to uint64) (uint64, bool) {
	for i := 0; i+nearLen <= len(code); i++ {
		at := i + 1
		switch {
		case code[i]&0xfe == 0xe8: // call, jmp
		case code[i] == 0x0f && code[i+1]&0xf0 == 0x80 && i+nearLen < len(code): // jcc
			at++
		default:
			continue
		}
		target := addr + uint64(at+4) + uint64(int64(int32(le.Uint32(code[at:]))))
		if target > from && target < to {
			return addr + uint64(i), true
		}
	}
	return 0, false
}
