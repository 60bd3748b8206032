package process

// On ppc64le there are 13 NOPs before the global entry, and one at the local entry, which is 8
// bytes after it where the function sets up its TOC pointer, else the same place. In libpulp's
// detour that one is a branch back to the 13, which end in the target's address; the instructions
// before it jump through libpulp's trampoline.
const (
	powerBefore = 13 * 4
	powerTOC    = 8 // addis r2,r12,HI; addi r2,r2,LO
	powerNOP    = 0x6000_0000
	powerBranch = 0x4800_0000 // b, with the displacement in bits 2 to 25
	powerMask   = 0x03ff_fffc
	powerSaveR5 = 0xf8a1_fff8 // std r5,-8(r1): the first instruction of the detour
)

var entryPower = entryFormat{before: powerBefore, after: powerTOC + 4, align: 4,
	decode: decodePower}

func decodePower(p *Prologue, _ uint64) {
	off := 0
	if le.Uint32(p.After)>>16 == 0x3c4c && le.Uint32(p.After[4:])>>16 == 0x3842 {
		p.Landing, off = true, powerTOC
	}
	var target uint64
	if le.Uint32(p.Before) == powerSaveR5 {
		target = le.Uint64(p.Before[powerBefore-8:])
	}
	switch entry := le.Uint32(p.After[off:]); {
	case entry == powerNOP && (target != 0 || powerNOPs(p.Before)):
		p.State, p.Stale, p.Single = EntryNOPs, target, true
	case entry == powerBranch|uint32(-(powerBefore+off))&powerMask && target != 0:
		p.State, p.Target = EntryDetour, target
	}
}

func powerNOPs(b []byte) bool {
	for ; len(b) >= 4; b = b[4:] {
		if le.Uint32(b) != powerNOP {
			return false
		}
	}
	return true
}
