package hotpatch

// The opcode maps of 64-bit mode, a character for each opcode. What is not listed is refused:
// instructions that the processor does not know, or knows only since APX, and those of which
// processors disagree about the length.

// oneByte is the first map: what follows the opcode.
//
//	.  nothing                     m  ModRM
//	b  a byte                      M  ModRM and a byte
//	z  2 or 4 bytes                Z  ModRM and 2 or 4 bytes
//	h  2 bytes                     n  3 bytes (enter)
//	v  2, 4 or 8 bytes (mov)       a  an address of 4 or 8 bytes (mov)
//	j  a short distance            J  a near distance
//	g  ModRM, and a byte or more if that says so (test)
//	p  a prefix    e  another map    V  VEX, EVEX    -  refused
const oneByte = "" +
	"mmmmbz--mmmmbz-e" + // 0
	"mmmmbz--mmmmbz--" +
	"mmmmbzp-mmmmbzp-" +
	"mmmmbzp-mmmmbzp-" +
	"pppppppppppppppp" + // 4: REX
	"................" +
	"--Vmppp" + "pzZbM...." +
	"jjjjjjjjjjjjjjjj" +
	"MZ-Mmmmmmmmmmmmm" + // 8
	"..........-....." +
	"aaaa....bz......" +
	"bbbbbbbbvvvvvvvv" +
	"MMh.VVMZn.h..b-." + // c
	"mmmm---.mmmmmmmm" +
	"jjjjbbbbJJ-j...." +
	"p.pp..gg......mm"

// Masks of mandatory prefixes: which of none (1), 66 (2), F3 (4) and F2 (8) an opcode may have, as
// a hexadecimal digit.

// twoByte is the map 0F. All have ModRM, but those that twoByteBare lists.
const twoByte = "" +
	"3f33.1111-.1.1.." + // 0
	"fff33373f3..3373" +
	"........33ffff33" +
	"111111.1........" +
	"3333333333333333" + // 4
	"3f553333fff7ffff" +
	"3333333333332237" +
	"f3333331....aa77" +
	"9999999999999999" + // 8
	"1111111111111111" +
	"111331..111331f3" +
	"133333334-337733" +
	"13f1333733333333" + // c
	"a33333e333333333" +
	"333333e333333333" +
	"833333333333333."

// map38 is 0F 38. All have ModRM.
const map38 = "" +
	"333333333333...." + // 0
	"2...22.2....333." +
	"222222..2222...." +
	"222222.222222222" +
	"22.............." + // 4
	"................" +
	"................" +
	"................" +
	"222............." + // 8
	"................" +
	"................" +
	"................" +
	"........111111.2" + // c
	"...........22222" +
	"................" +
	"bb...27.e1......"

// map3A is 0F 3A. All have ModRM and a byte.
const map3A = "" +
	"........22222223" + // 0
	"....2222........" +
	"222............." +
	"................" +
	"222.2..........." + // 4
	"................" +
	"2222............" +
	"................" +
	"................" + // 8
	"................" +
	"................" +
	"................" +
	"............1.22" + // c
	"...............2" +
	"................" +
	"................"

// vex are the maps 1 to 3 of VEX. All have ModRM but vzeroupper and vzeroall (77). Those of map 3
// have a byte, and so have those of map 1 that vexByte lists.
var vex = [...]string{1: "" +
	"................" + // 0
	"fff33373........" +
	"........33c3cc33" +
	"................" +
	".33.3333..33...." + // 4
	"3f553333fff7ffff" +
	"2222222222222226" +
	"e2222221....aa66" +
	"................" + // 8
	"33bb....33......" +
	"..............1." +
	"................" +
	"..f.223........." + // c
	"a222222222222222" +
	"222222e222222222" +
	"822222222222222.",
	2: "" +
		"2222222222222222" + // 0
		"...2..22222.222." +
		"222222..22222222" +
		"2222222222222222" +
		"22...222.b.e...." + // 4
		"ff22....222.c.f." +
		"................" +
		"..4.....22......" +
		"............2.2." + // 8
		"2222..2222222222" +
		"......2222222222" +
		"f6..222222222222" +
		"...............2" + // c
		"...........22222" +
		"................" +
		"..11.d8f........",
	3: "" +
		"222.222.22222222" + // 0
		"....222222...2.." +
		"222............." +
		"2222....22......" +
		"222.2.2.22222..." + // 4
		"................" +
		"................" +
		"................" +
		"................" + // 8
		"................" +
		"................" +
		"................" +
		"..............22" + // c
		"...............2" +
		"................" +
		"8...............",
}

// evex are the maps 1 to 3, 5 and 6 of EVEX. All have ModRM. Those of map 3 have a byte, and so
// have those of map 1 that vexByte lists.
var evex = [...]string{1: "" +
	"................" + // 0
	"fff33373........" +
	"........33c3cc33" +
	"................" +
	"................" + // 4
	".f..3333fff7ffff" +
	"222222222222222e" +
	"e222222.ffee..6e" +
	"................" + // 8
	"................" +
	"................" +
	"................" +
	"..f.223........." + // c
	".222222.22222222" +
	"222222e222222222" +
	".222222.2222222.",
	2: "" +
		"2...2......222.." + // 0
		"6666662.22222222" +
		"66666666666222.." +
		"6666662266622222" +
		"2.222222....22f2" + // 4
		"ffea22..2222...." +
		"..22222.8......." +
		"22e2.22222222222" +
		"...2....2222.2.2" + // 8
		"2222..2222aa2222" +
		"2222..2222aa2222" +
		"....222222222222" +
		"....2...2.2222.2" + // c
		"............2222" +
		"................" +
		"................",
	3: "" +
		"22.222..3232...2" + // 0
		"....22222222.222" +
		"2222.233........" +
		"........2222..22" +
		"..f22..........." + // 4
		"22..2233........" +
		"......33........" +
		"f2f2............" +
		"................" + // 8
		"................" +
		"................" +
		"................" +
		"..5...........22" + // c
		"................" +
		"................" +
		"................",
	5: "" +
		"................" + // 0
		"44...........3.." +
		"..........4.4411" +
		"................" +
		"................" + // 4
		".5......55f75555" +
		"..............2." +
		"........77a63f2." +
		"................" + // 8
		"................" +
		"................" +
		"................" +
		"................" + // c
		"................" +
		"................" +
		"................",
	6: "" +
		"................" + // 0
		"...3............" +
		"............22.." +
		"................" +
		"..22........2222" + // 4
		"......cc........" +
		"................" +
		"................" +
		"................" + // 8
		"......2222222222" +
		"......2222222222" +
		"......2222222222" +
		"................" + // c
		"......cc........" +
		"................" +
		"................",
}

// twoByteBare reports whether an opcode of the map 0F has no ModRM.
func twoByteBare(op byte) bool {
	switch {
	case op >= 0x05 && op <= 0x0b, op >= 0x30 && op <= 0x37, op == 0x77, op >= 0x80 && op <= 0x8f,
		op == 0xa0, op == 0xa1, op == 0xa2, op == 0xa8, op == 0xa9, op == 0xaa, op >= 0xc8 &&
			op <= 0xcf:
		return true
	}
	return false
}

// twoByteByte reports whether an opcode of the map 0F has a byte after ModRM.
func twoByteByte(op byte) bool { return vexByte(op) || op == 0xa4 || op == 0xac || op == 0xba }

// vexByte reports whether an opcode of the map 1 has a byte after ModRM.
func vexByte(op byte) bool {
	return op >= 0x70 && op <= 0x73 || op == 0xc2 || op >= 0xc4 && op <= 0xc6
}

// Opcodes that a processor knows with some values of the middle field of ModRM only: a bit for
// each, of forms with memory and with registers.
type group struct {
	op          byte
	memory, reg byte
}

const (
	none, all = 0x00, 0xff
)

// oneByteGroups are those of the first map.
var oneByteGroups = groupsOf(
	group{0x8d, all, none},      // lea
	group{0x8f, 1 << 0, 1 << 0}, // pop; XOP
	group{0xc6, 1 << 0, 1 << 0}, // mov; xabort has no bits of its own
	group{0xc7, 1 << 0, 1 << 0}, // mov; xbegin
	group{0x8c, 0x3f, 0x3f},     // from a segment register
	group{0x8e, 0x3d, 0x3d},     // to one, but not CS
	group{0xfe, 0x03, 0x03},     // inc, dec
	group{0xff, 0x7f, 0x57},     // far calls and jumps are through memory
	// rotates and shifts; 6 is another name of shl that assemblers do not use
	group{0xc0, 0xbf, 0xbf},
	group{0xc1, 0xbf, 0xbf}, //
	group{0xd0, 0xbf, 0xbf}, //
	group{0xd1, 0xbf, 0xbf}, //
	group{0xd2, 0xbf, 0xbf}, //
	group{0xd3, 0xbf, 0xbf}, //
	group{0xf6, 0xfd, 0xfd}, // 1 is another name of test
	group{0xf7, 0xfd, 0xfd}, //
	group{0xd9, 0xfd, 0xf7}, // x87; see x87
	group{0xda, all, 0x2f},  //
	group{0xdb, 0xaf, 0x7f}, //
	group{0xdc, all, 0xf3},  //
	group{0xdd, 0xdf, 0x3d}, //
	group{0xde, all, 0xfb},  //
	group{0xdf, all, 0x70},  //
)

// twoByteGroups are those of the map 0F.
var twoByteGroups = groupsOf(
	group{0x00, 0x3f, 0x3f},
	group{0x01, 0xdf, all},
	group{0x0d, 0x07, none},
	group{0x71, none, 0x54},
	group{0x72, none, 0x54},
	group{0x73, none, 0xcc},
	group{0xba, 0xf0, 0xf0},
	group{0xc7, 0x7a, 0xc0},
	group{0x12, all, all},
	group{0x13, all, none},
	group{0x17, all, none},
	group{0x18, 0x0f, none},
	group{0x2b, all, none},
	group{0x50, none, all},
	group{0xb2, all, none},
	group{0xb4, all, none},
	group{0xb5, all, none},
	group{0xc3, all, none},
	group{0xc5, none, all},
	group{0xd7, none, all},
	group{0xe7, all, none},
	group{0xf0, all, none},
	group{0xf7, none, all},
)

func groupsOf(list ...group) *[256]*group {
	var t [256]*group
	for i, g := range list {
		t[g.op] = &list[i]
	}
	return &t
}

// has reports whether the processor knows the opcode with a ModRM.
func (g *group) has(modrm byte) bool {
	set := g.memory
	if modrm >= 0xc0 {
		set = g.reg
	}
	return set>>(modrm>>3&7)&1 != 0
}

// x87 reports whether the processor knows an instruction of its floating-point unit that has
// registers only. Those rows of its maps are here of which not all are taken.
func x87(op, modrm byte) bool {
	low := modrm & 7
	switch uint16(op)<<8 | uint16(modrm&0xf8) {
	case 0xd9d0, 0xdfe0: // fnop, fnstsw
		return low == 0
	case 0xd9e0:
		return 0x33>>low&1 != 0
	case 0xd9e8:
		return low != 7
	case 0xdae8, 0xded8: // fucompp, fcompp
		return low == 1
	case 0xdbe0:
		return low == 2 || low == 3 // fnclex, fninit; others did something once
	}
	return true
}

// memoryOnly reports whether an opcode of the map 0F 38 has no form with registers.
func memoryOnly(op, mask byte) bool {
	switch op {
	case 0x2a, 0x80, 0x81, 0x82, 0xf5, 0xf8, 0xf9:
		return true
	case 0xf0, 0xf1:
		return mask != 8
	case 0xf6:
		return mask == 1
	}
	return false
}

// twoByteForm reports whether an opcode of the map 0F has a form with these prefixes and operands.
func twoByteForm(op, mask, modrm byte) bool {
	registers, reg := modrm >= 0xc0, modrm>>3&7
	switch op {
	case 0x12, 0x16:
		return mask != 2 || !registers
	case 0x73: // whole registers are shifted in SSE only
		return mask == 2 || reg&3 != 3
	case 0xd6:
		return mask == 2 || registers
	case 0xae:
		if !registers {
			return mask == 1
		}
		return mask == 4 && reg < 4 || mask == 1 && (modrm == 0xe8 || modrm == 0xf0 ||
			modrm == 0xf8) // FS and GS, fences
	}
	return true
}
