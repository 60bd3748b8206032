package symtab

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// What gcc's -fpatchable-function-entry=N,M leaves in a linked file: an address in
// __patchable_function_entries for each function, and NOPs at that address: M before the function's
// symbol, N-M at it. What was found with gcc 12:
//
//	x86_64, 16,14    14 NOPs of one byte before the symbol; 2 at it, after endbr64 where
//	                 -fcf-protection puts one. The address is symbol-14. `ulp post` makes one NOP
//	                 of two bytes of the 2.
//	ppc64le, N,M     All NOPs are of 4 bytes; M before the symbol, which is the global entry
//	                 point, N-M at it, and the instructions that set up r2 after them. The
//	                 address is symbol-4*M. A function that has a global entry point can only
//	                 have 0, 2, 6 or 14 NOPs at the symbol, because the distance to the local
//	                 entry point is stored as a power of two: with 14,13 the assembler refuses
//	                 such functions.
//	ppc64le, 14,13   with -msplit-patch-nops, which gcc 12 of some distributions and gcc 14 have:
//	                 13 NOPs before the global entry point; one at the local entry point, which
//	                 is the same, or 8 bytes (two instructions that set up r2) after it. The
//	                 address is symbol-52.
//	aarch64, N,M     NOPs of 4 bytes; M before the symbol, N-M at it, after "bti c" where
//	                 -mbranch-protection puts one. The address is symbol-4*M.
//
// The table alone does not prove that a detour fits, since functions may have attributes with other
// numbers, and the bytes alone do not, since NOPs are padding too. So both must be right.

// detour is a range of addresses. A function symbol there, a multiple of step from first, has the
// NOPs that a detour needs.
type detour struct {
	first, last uint64
	landing     bool // endbr64 comes before the NOPs at the symbol; x86_64 only
}

// detours are the places where functions can be patched, in ascending order.
//
// An index speeds up looking up every function symbol: the addresses are divided into
// about as many parts of equal size as there are detours, so that hardly ever more than a few are
// in one of them.
type detours struct {
	list []detour
	step uint64
	// for each part of 1<<shift bytes from list[0].first on: its first detour in list. Empty: there
	// is no index
	parts []uint32
	shift int
}

// makeIndex makes the index.
func (d *detours) makeIndex() {
	n := len(d.list)
	if n == 0 {
		return
	}
	base, span := d.list[0].first, d.list[n-1].first-d.list[0].first
	d.shift = max(0, bits.Len64(span)-bits.Len(uint(n)))
	d.parts = make([]uint32, span>>d.shift+2)
	part := 0
	for i, e := range d.list {
		for ; part <= int((e.first-base)>>d.shift); part++ {
			d.parts[part] = uint32(i)
		}
	}
	d.parts[part] = uint32(n)
}

// at returns the flags of a function at addr: whether it can be patched, and whether it begins with
// endbr64 then.
func (d *detours) at(addr uint64) flag {
	if len(d.list) == 0 || addr < d.list[0].first {
		return 0
	}
	lo, hi := 0, len(d.list)
	if len(d.parts) > 0 {
		part := min((addr-d.list[0].first)>>d.shift, uint64(len(d.parts)-2))
		lo, hi = int(d.parts[part]), int(d.parts[part+1])
	}
	// The last one that does not begin after addr: in this part, or the last of those before.
	for lo < hi {
		if middle := (lo + hi) / 2; d.list[middle].first <= addr {
			lo = middle + 1
		} else {
			hi = middle
		}
	}
	switch {
	case lo == 0 || addr > d.list[lo-1].last || (addr-d.list[lo-1].first)%d.step != 0:
		return 0
	case d.list[lo-1].landing:
		return flagPatchable | flagLanding
	}
	return flagPatchable
}

// findDetours checks the bytes at all places that the library lists. ok says that it has such a
// list.
func findDetours(f *elfx.File, memory *elfx.Memory, arch Arch) (d detours, ok bool, err error) {
	entries, ok, err := f.PatchableEntries()
	if err != nil {
		return detours{}, ok, err
	}
	find := map[Arch]func(code []byte, entry uint64) (detour, bool){X86_64: detourX86,
		PPC64LE: detourPPC64, AArch64: detourAArch64}[arch]
	d = detours{list: make([]detour, 0, len(entries)), step: 1}
	if arch != X86_64 {
		d.step = insnSize
	}
	for _, entry := range entries {
		if e, ok := find(memory.Code(entry), entry); ok {
			d.list = append(d.list, e)
		}
	}
	if err := memory.Err(); err != nil {
		return detours{}, ok, err
	}
	return d, ok, nil
}

// Sizes for x86_64, in bytes: an absolute jump fits before the symbol, a short one to it at the
// symbol.
const (
	X86NOPsBefore = 14
	X86NOPsAt     = 2
)

// ENDBR64 is the instruction endbr64, with which a function begins that may be called indirectly.
var ENDBR64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// detourX86 returns the symbol that belongs to the entry: it is always 14 bytes after.
func detourX86(code []byte, entry uint64) (detour, bool) {
	if len(code) < X86NOPsBefore || !isNopsX86(code[:X86NOPsBefore]) {
		return detour{}, false
	}
	at, landing := bytes.CutPrefix(code[X86NOPsBefore:], ENDBR64)
	if len(at) < X86NOPsAt || at[1] != 0x90 || at[0] != 0x90 && at[0] != 0x66 {
		return detour{}, false
	}
	return detour{entry + X86NOPsBefore, entry + X86NOPsBefore, landing}, true
}

// isNopsX86 reports whether the 14 bytes are a sequence of whole NOPs, of one byte or of several.
func isNopsX86(b []byte) bool {
	const nops = 0x9090909090909090
	if binary.LittleEndian.Uint64(b) == nops &&
		binary.LittleEndian.Uint64(b[X86NOPsBefore-8:]) == nops {
		return true
	}
	for len(b) > 0 {
		n := nopX86(b)
		if n == 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// nopX86 returns the length of the NOP at the start of b, 0 if there is none. It knows 90 and 0F 1F
// /0 with the forms of operands that assemblers use as padding, each with any number of 66
// prefixes.
func nopX86(b []byte) int {
	n := 0
	for n < len(b) && b[n] == 0x66 {
		n++
	}
	rest := b[n:]
	switch {
	case len(rest) >= 1 && rest[0] == 0x90:
		return n + 1
	case len(rest) < 3 || rest[0] != 0x0f || rest[1] != 0x1f:
		return 0
	}
	size := 0
	switch rest[2] { // the ModRM byte
	case 0x00:
		size = 3
	case 0x40:
		size = 4
	case 0x44:
		size = 5
	case 0x80:
		size = 7
	case 0x84:
		size = 8
	}
	if size == 0 || size > len(rest) {
		return 0
	}
	return n + size
}

// insnSize is the size of an instruction, and of a NOP, on ppc64le and aarch64.
const insnSize = 4

// Numbers of NOPs that a detour needs before the symbol.
const (
	ppc64Before   = 13
	aarch64Before = 4 // load the address, branch to it, and the address itself
)

// maxNops bounds how far a run of NOPs is followed.
const maxNops = 256

var (
	nopPPC64   = []byte{0x00, 0x00, 0x00, 0x60} // ori r0,r0,0
	nopAArch64 = []byte{0x1f, 0x20, 0x03, 0xd5}
	btiC       = []byte{0x5f, 0x24, 0x03, 0xd5}
)

// detourPPC64 returns where the symbol of the entry may be: at a NOP after 13 others, or after
// all NOPs where the two instructions that set up r2 come first and one more NOP follows.
func detourPPC64(code []byte, entry uint64) (detour, bool) {
	n := countNops(code, nopPPC64)
	rest := code[n*insnSize:]
	split := len(rest) >= 3*insnSize && isSetup(rest) &&
		bytes.HasPrefix(rest[2*insnSize:], nopPPC64)
	return detourAfter(entry, ppc64Before, n, split)
}

// isSetup reports whether b begins with addis r2,r12,X; addi r2,r2,Y.
func isSetup(b []byte) bool {
	return b[2] == 0x4c && b[3] == 0x3c && b[6] == 0x42 && b[7] == 0x38
}

// detourAArch64 returns where the symbol of the entry may be: at a NOP after 4 others, or after
// all NOPs at a "bti c" that one more NOP follows.
func detourAArch64(code []byte, entry uint64) (detour, bool) {
	n := countNops(code, nopAArch64)
	rest, isBTI := bytes.CutPrefix(code[n*insnSize:], btiC)
	return detourAfter(entry, aarch64Before, n, isBTI && bytes.HasPrefix(rest, nopAArch64))
}

// detourAfter returns the addresses after at least before of the n NOPs at entry: those of the
// other NOPs, and the one after them all if split says that the NOP at the entry follows there.
func detourAfter(entry uint64, before, n int, split bool) (detour, bool) {
	last := n - 1
	if split {
		last = n
	}
	return detour{first: entry + uint64(before*insnSize), last: entry + uint64(last*insnSize)},
		last >= before
}

// countNops returns how many NOPs the code begins with.
func countNops(code, nop []byte) int {
	n := 0
	for n < maxNops && bytes.HasPrefix(code, nop) {
		code = code[len(nop):]
		n++
	}
	return n
}
