package tracer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"slices"
)

// Gadgets are addresses of instructions in the target's own executable memory.
type Gadgets struct {
	Syscall  uint64 // syscall; ret
	Restorer uint64 // mov $15,%eax (or %rax); syscall: libc's signal restorer
	// mov %rax,(REG); [add $N,%rsp;] [pop ...] ret, with a REG that functions preserve; 0: no Call
	Store uint64
	Keep  uint64 // mov %rax,(%rbx); pop %rbx; ret; 0: no Batch

	reg register // REG of Store; from its bytes
	gap uint64   // bytes that Store takes from the stack before it returns
}

// register is one that functions preserve, by its number in instructions.
type register int

const (
	rbx register = 3
	rbp register = 5
	r12 register = 12
	r13 register = 13
	r14 register = 14
	r15 register = 15
)

// stores are the encodings of mov %rax,(REG).
var stores = []struct {
	code []byte
	reg  register
}{
	{[]byte{0x48, 0x89, 0x03}, rbx}, {[]byte{0x48, 0x89, 0x45, 0}, rbp},
	{[]byte{0x49, 0x89, 0x04, 0x24}, r12},
	{[]byte{0x49, 0x89, 0x45, 0}, r13}, {[]byte{0x49, 0x89, 0x06}, r14},
	{[]byte{0x49, 0x89, 0x07}, r15},
}

var (
	syscallRet = []byte{0x0f, 0x05, 0xc3}
	keepRax    = []byte{0x48, 0x89, 0x03, 0x5b, 0xc3}
	restorers  = [][]byte{{0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05},
		{0xb8, 15, 0, 0, 0, 0x0f, 0x05}}
)

// afterSyscall is where a thread stands that makes a system call with the gadgets.
func (g *Gadgets) afterSyscall(nr uint64) uint64 {
	if nr == sysSigreturn {
		return g.Restorer + uint64(len(restorers[0]))
	}
	return g.Syscall + syscallLen
}

func (g *Gadgets) complete() bool { return g.usable() && g.canCall() && g.canBatch() }
func (g *Gadgets) usable() bool   { return g.Syscall != 0 && g.Restorer != 0 }
func (g *Gadgets) canBatch() bool { return g.Keep != 0 }
func (g *Gadgets) canCall() bool  { return g.Store != 0 }

// at reports whether an address is in, or right after, an instruction of those that system calls
// are made with.
func (g *Gadgets) at(pc uint64) bool {
	in := func(gadget uint64, code []byte) bool {
		return gadget != 0 && pc >= gadget && pc <= gadget+uint64(len(code))
	}
	return in(g.Syscall, syscallRet) || in(g.Restorer, restorers[0]) || in(g.Keep, keepRax)
}

// scan takes what it finds in b, which lies at the address at. Keep is a Store, too.
func (g *Gadgets) scan(b []byte, at uint64) {
	find(&g.Syscall, b, at, syscallRet, 1)
	for _, r := range restorers {
		find(&g.Restorer, b, at, r, len(r)-1)
	}
	if find(&g.Keep, b, at, keepRax, 3); g.Keep != 0 {
		g.Store, g.reg, g.gap = g.Keep, rbx, 8
	}
}

// scanStores takes a Store, where there is no Keep.
func (g *Gadgets) scanStores(b []byte, at uint64) {
	for _, s := range stores {
		for i := range occurrences(b, s.code, 1) {
			if reg, gap, ok := decodeStore(b[i:]); ok {
				g.Store, g.reg, g.gap = at+uint64(i), reg, gap
				return
			}
		}
	}
}

// find notes where code is in b first, unless that is known. rare is the index of the byte of it
// that code has least.
func find(found *uint64, b []byte, at uint64, code []byte, rare int) {
	if *found != 0 {
		return
	}
	for i := range occurrences(b, code, rare) {
		*found = at + uint64(i)
		return
	}
}

// occurrences yields where code is in b. It looks for its rare byte: bytes.Index, which looks for
// the first one, takes ten times as long where that is in every other instruction.
func occurrences(b, code []byte, rare int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := rare; i < len(b); i++ {
			j := bytes.IndexByte(b[i:], code[rare])
			if j < 0 {
				return
			}
			i += j
			if bytes.HasPrefix(b[i-rare:], code) && !yield(i-rare) {
				return
			}
		}
	}
}

// storeTail decodes what follows a store: at most one add to the stack pointer, pops, ret. gap is
// what they take from it.
func storeTail(b []byte) (gap uint64, ok bool) {
	if len(b) > 4 && b[0] == 0x48 && b[1] == 0x83 && b[2] == 0xc4 && b[3]&0x87 == 0 {
		// add $imm8,%rsp
		gap, b = uint64(b[3]), b[4:]
	}
	for len(b) > 0 && gap < maxStoreGap {
		switch {
		case b[0] == 0xc3:
			return gap, true
		case b[0] == 0x41 && len(b) > 1 && b[1] >= 0x58 && b[1] <= 0x5f: // pop %r8 ... %r15
			gap, b = gap+8, b[2:]
		case b[0] >= 0x58 && b[0] <= 0x5f && b[0] != 0x5c: // pop, but not %rsp
			gap, b = gap+8, b[1:]
		default:
			return 0, false
		}
	}
	return 0, false
}

// verify reads the gadgets again in this very process, and decodes Store.
func (g *Gadgets) verify(mem io.ReaderAt) error {
	at := func(addr uint64) []byte {
		var b [gadgetOverlap]byte
		if addr == 0 || addr > 1<<63-1 {
			return nil
		}
		n, _ := mem.ReadAt(b[:], int64(addr))
		return b[:n]
	}
	restorer := at(g.Restorer)
	ok := bytes.HasPrefix(at(g.Syscall), syscallRet) && slices.ContainsFunc(restorers,
		func(r []byte) bool {
			return bytes.HasPrefix(restorer, r)
		})
	if g.Store != 0 && ok {
		g.reg, g.gap, ok = decodeStore(at(g.Store))
	}
	if !bytes.HasPrefix(at(g.Keep), keepRax) {
		g.Keep = 0 // only Batch needs it
	}
	if !ok {
		return fmt.Errorf("at %#x, %#x, %#x: %w", g.Syscall, g.Restorer, g.Store, ErrGadget)
	}
	return nil
}

// decodeStore decodes Store from its first byte on.
func decodeStore(b []byte) (reg register, gap uint64, ok bool) {
	for _, s := range stores {
		if bytes.HasPrefix(b, s.code) {
			gap, ok := storeTail(b[len(s.code):min(len(b), gadgetOverlap)])
			return s.reg, gap, ok
		}
	}
	return 0, 0, false
}

// trapTarget decodes [endbr64] nop ... call rel32; int3.
func trapTarget(b []byte, at uint64) (uint64, bool) {
	i := 0
	if bytes.HasPrefix(b, []byte{0xf3, 0x0f, 0x1e, 0xfa}) {
		i = 4
	}
	for i < len(b) && b[i] == 0x90 {
		i++
	}
	if len(b) < i+6 || b[i] != 0xe8 || b[i+5] != 0xcc {
		return 0, false
	}
	rel := int32(binary.LittleEndian.Uint32(b[i+1:]))
	return at + uint64(i) + 5 + uint64(int64(rel)), true
}
