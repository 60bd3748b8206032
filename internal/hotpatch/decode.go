package hotpatch

import "encoding/binary"

// A decoder of its own, for 64-bit mode: how long an instruction is, and where it leads. It need
// not know what instructions compute, so that it fits on a few pages and can be compared with
// objdump completely (`make test-decode`); and it refuses what is not in its tables rather than to
// guess: after a wrong length everything is wrong.

// flow is where the processor goes on after an instruction.
type flow uint8

const (
	next         flow = iota // after it
	branch                   // after it, or at the target
	jump                     // at the target
	call                     // at the target, and after it when that returns
	jumpAnywhere             // where a register or memory says
	callAnywhere             //
	leave                    // ret and the like: not after it
	trap                     // it makes an exception or an interrupt
	system                   // it enters the kernel, which may repeat it
)

// instruction is a decoded one.
type instruction struct {
	off    int  // where it is in the code
	size   int  // its length; 0: the end of the code
	flow   flow //
	target int  // of branch, jump and call: relative to the code's beginning
	opcode int  // offset of the opcode, or of its last byte, in the instruction
	modrm  int  // offset of ModRM in the instruction; 0: it has none
	rip    int  // offset in the instruction of a distance of 4 bytes to memory; 0: it has none
	short  bool // the target is given with one byte
}

// maxInstruction is the longest that processors execute.
const maxInstruction = 15

// Why an instruction is refused.
const (
	refusedCut      = "an instruction is cut off at its end"
	refusedOpcode   = "an instruction in it is not known"
	refusedPrefixes = "an instruction in it has unusual prefixes"
)

// legacy are the prefixes of an instruction that are no part of VEX or EVEX.
type legacy struct {
	operand  bool // 66
	address  bool // 67
	lock     bool // F0
	repeat   byte // F2 or F3
	segment  byte
	rex      byte
	repeated bool // one that is there twice, but 66, of which padding has many
}

// add reports whether a byte is a prefix. After REX there can be no other.
func (p *legacy) add(b byte) bool {
	switch b {
	case 0x66:
		p.operand = true
	case 0x67:
		p.repeated = p.repeated || p.address
		p.address = true
	case 0xf0:
		p.repeated = p.repeated || p.lock
		p.lock = true
	case 0xf2, 0xf3:
		p.repeated = p.repeated || p.repeat != 0
		p.repeat = b
	case 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65:
		p.repeated = p.repeated || p.segment != 0
		p.segment = b
	default:
		return false
	}
	return true
}

// mask is the bit of the mandatory prefix: see twoByte.
func (p *legacy) mask() byte {
	switch {
	case p.repeat == 0xf2:
		return 8
	case p.repeat == 0xf3:
		return 4
	case p.operand:
		return 2
	}
	return 1
}

// reader takes bytes of one instruction.
type reader struct {
	code []byte
	at   int
}

// byte returns the next byte; 0 after the end, which at shows.
func (r *reader) byte() byte {
	r.at++
	if r.at > len(r.code) {
		return 0
	}
	return r.code[r.at-1]
}

// decode decodes the instruction at an offset. That at the end of the code has the size 0. why is
// "" or the reason why it is not known what the instruction is.
func decode(code []byte, off int) (in instruction, why string) {
	in.off = off
	if off >= len(code) {
		return in, ""
	}
	r := reader{code: code[off:min(len(code), off+maxInstruction)]}
	why = in.read(&r)
	if r.at > len(r.code) {
		return in, refusedCut
	}
	in.size = r.at
	in.target += off + in.size
	return in, why
}

// read reads an instruction. target is left relative to its end.
func (in *instruction) read(r *reader) (why string) {
	var p legacy
	b := r.byte()
	for p.add(b) {
		b = r.byte()
	}
	if b&0xf0 == 0x40 {
		p.rex = b
		if b = r.byte(); oneByte[b] == 'p' {
			return refusedPrefixes
		}
	}
	if p.repeated {
		return refusedPrefixes
	}
	in.opcode = r.at - 1
	switch oneByte[b] {
	case '-':
		return refusedOpcode
	case 'e':
		return in.readEscaped(r, &p)
	case 'V':
		if p.operand || p.lock || p.repeat != 0 || p.rex != 0 {
			return refusedPrefixes
		}
		return in.readVector(r, &p, b)
	}
	return in.readOneByte(r, &p, b)
}

// readOneByte reads what follows an opcode of the first map.
func (in *instruction) readOneByte(r *reader, p *legacy, op byte) (why string) {
	form := oneByte[op]
	modrm := byte(0)
	switch form {
	case 'm', 'M', 'Z', 'g':
		modrm = in.readModRM(r)
		if g := oneByteGroups[op]; g != nil && !g.has(modrm) {
			return in.readTransaction(r, p, op, modrm)
		}
		if op&0xf8 == 0xd8 && modrm >= 0xc0 && !x87(op, modrm) {
			return refusedOpcode
		}
	}
	wide := 4
	if p.operand && p.rex&8 == 0 {
		wide = 2
	}
	switch form {
	case 'b', 'M':
		r.at++
	case 'h':
		r.at += 2
	case 'n':
		r.at += 3
	case 'z', 'Z':
		r.at += wide
	case 'v':
		if p.rex&8 != 0 {
			wide = 8
		}
		r.at += wide
	case 'a':
		if r.at += 8; p.address {
			r.at -= 4
		}
	case 'g': // test has an operand, the others have none
		if modrm&0x38 == 0 && op == 0xf6 {
			r.at++
		} else if modrm&0x38 == 0 {
			r.at += wide
		}
	case 'j', 'J':
		in.readDistance(r, form == 'j')
	}
	in.flow = oneByteFlow(op, modrm)
	return in.checkOneByte(p, op, modrm)
}

// readTransaction reads xabort and xbegin, which have ModRM of their own.
func (in *instruction) readTransaction(r *reader, p *legacy, op, modrm byte) (why string) {
	switch {
	case modrm != 0xf8 || *p != (legacy{}):
		return refusedOpcode
	case op == 0xc6:
		r.at++
	case op == 0xc7:
		in.readDistance(r, false)
		in.flow = branch
	default:
		return refusedOpcode
	}
	return ""
}

// oneByteFlow is where an opcode of the first map leads.
func oneByteFlow(op, modrm byte) flow {
	switch {
	case op&0xf0 == 0x70, op&0xfc == 0xe0:
		return branch
	case op == 0xe8:
		return call
	case op == 0xe9, op == 0xeb:
		return jump
	case op == 0xff && modrm&0x30 == 0x10:
		return callAnywhere
	case op == 0xff && modrm&0x30 == 0x20:
		return jumpAnywhere
	case op == 0xc2, op == 0xc3, op == 0xca, op == 0xcb, op == 0xcf:
		return leave
	case op == 0xcc, op == 0xcd, op == 0xf1, op == 0xf4:
		return trap
	}
	return next
}

// checkOneByte refuses prefixes that are ignored, that processors disagree about, or that mean an
// exception.
func (in *instruction) checkOneByte(p *legacy, op, modrm byte) (why string) {
	narrow := p.operand && p.rex&8 == 0
	switch {
	case p.lock && !lockable(op, modrm),
		// Intel's ignore 66, AMD's take 16 bits of the target
		in.flow != next && (narrow || p.lock),
		in.rip != 0 && p.address,       // the address is cut to 32 bits
		op == 0x9b && *p != (legacy{}), // fwait
		op == 0x90 && p.rex&1 != 0 && p.repeat != 0:
		return refusedPrefixes
	}
	if p.repeat == 0 {
		return ""
	}
	switch {
	case p.repeat == 0xf2 && op&0xfc != 0xe0 && (in.flow == branch || in.flow == jump ||
		in.flow == call || in.flow == jumpAnywhere || in.flow == callAnywhere),
		op == 0xc2, op == 0xc3, // bnd
		op == 0x90 && p.repeat == 0xf3 && !p.operand && p.rex == 0,                   // pause
		op >= 0x6c && op <= 0x6f, op >= 0xa4 && op <= 0xa7, op >= 0xaa && op <= 0xaf, // strings
		p.lock && modrm < 0xc0, // xacquire, xrelease
		p.repeat == 0xf3 && modrm < 0xc0 && (op == 0x88 || op == 0x89 || op == 0xc6 || op == 0xc7):
		return ""
	}
	return refusedPrefixes
}

// lockable reports whether an instruction of the first map may be locked.
func lockable(op, modrm byte) bool {
	reg := modrm >> 3 & 7
	switch {
	case modrm >= 0xc0:
		return false
	case op < 0x38:
		return op&7 <= 1
	case op == 0x80, op == 0x81, op == 0x83:
		return reg != 7
	case op == 0x86, op == 0x87:
		return true
	case op == 0xf6, op == 0xf7:
		return reg == 2 || reg == 3
	case op == 0xfe, op == 0xff:
		return reg <= 1
	}
	return false
}

// lockableTwo is the same of the map 0F.
func lockableTwo(op, modrm byte) bool {
	reg := modrm >> 3 & 7
	switch {
	case modrm >= 0xc0:
		return false
	case op == 0xba:
		return reg >= 5
	case op == 0xc7:
		return reg == 1
	}
	return op == 0xab || op == 0xb0 || op == 0xb1 || op == 0xb3 || op == 0xbb || op == 0xc0 ||
		op == 0xc1
}

// allows reports whether a table has an opcode with a mandatory prefix.
func allows(table string, op, mask byte) bool {
	c := table[op]
	switch {
	case c >= '0' && c <= '9':
		c -= '0'
	case c >= 'a' && c <= 'f':
		c -= 'a' - 10
	default:
		return false
	}
	return c&mask != 0
}

// readEscaped reads an instruction of the maps that begin with 0F.
func (in *instruction) readEscaped(r *reader, p *legacy) (why string) {
	in.opcode = r.at
	op := r.byte()
	switch op {
	case 0x38, 0x3a:
		in.opcode = r.at
		table := map38
		if op == 0x3a {
			table = map3A
		}
		last := r.byte()
		if !allows(table, last, p.mask()) {
			return refusedOpcode
		}
		modrm := in.readModRM(r)
		if op == 0x3a {
			r.at++
		} else if modrm >= 0xc0 && memoryOnly(last, p.mask()) {
			return refusedOpcode
		}
		crc16 := op == 0x38 && last == 0xf1 && p.repeat == 0xf2
		if p.lock || in.rip != 0 && p.address || p.operand && p.repeat != 0 && !crc16 {
			return refusedPrefixes
		}
		return ""
	}
	if !allows(twoByte, op, p.mask()) {
		return refusedOpcode
	}
	modrm := byte(0xc0)
	if !twoByteBare(op) {
		modrm = in.readModRM(r)
		if g := twoByteGroups[op]; g != nil && !g.has(modrm) || !twoByteForm(op, p.mask(), modrm) {
			return refusedOpcode
		}
	}
	if twoByteByte(op) {
		r.at++
	}
	switch {
	case op&0xf0 == 0x80:
		in.readDistance(r, false)
		in.flow = branch
	case op == 0x05, op == 0x34, op == 0x07, op == 0x35:
		in.flow = system
	case op == 0x0b, op == 0xb9:
		in.flow = trap
	case op == 0x01 && modrm >= 0xc0: // of virtual machines, enclaves and the like
		if modrm != 0xd0 && modrm != 0xd5 && modrm != 0xd6 && modrm != 0xee && modrm != 0xef &&
			modrm != 0xf9 { // xgetbv, xend, xtest, rdpkru, wrpkru, rdtscp
			return refusedOpcode
		}
	}
	// popcnt, tzcnt, lzcnt, of 16 bits
	counts := p.repeat == 0xf3 && (op == 0xb8 || op == 0xbc || op == 0xbd)
	if p.lock && !lockableTwo(op, modrm) || in.rip != 0 && p.address || in.flow != next &&
		p.operand ||
		p.operand && p.repeat != 0 && !counts {
		return refusedPrefixes
	}
	return ""
}

// readVector reads an instruction with VEX (C4, C5) or EVEX (62).
func (in *instruction) readVector(r *reader, p *legacy, first byte) (why string) {
	m, last := byte(1), r.byte() // last has the mandatory prefix
	table := ""
	switch first {
	case 0xc4:
		m, last = last&0x1f, r.byte()
	case 0x62:
		if m = last; m&8 != 0 { // APX
			return refusedOpcode
		}
		if last = r.byte(); last&4 == 0 {
			return refusedOpcode
		}
		m &= 7
		r.byte()
	}
	switch {
	case first == 0x62 && int(m) < len(evex):
		table = evex[m]
	case first != 0x62 && int(m) < len(vex):
		table = vex[m]
	}
	in.opcode = r.at
	op := r.byte()
	if table == "" || !allows(table, op, 1<<(last&3)) {
		return refusedOpcode
	}
	if m == 1 && op == 0x77 && first != 0x62 { // vzeroupper, vzeroall
		return ""
	}
	in.readModRM(r)
	if m == 3 || m == 1 && vexByte(op) {
		r.at++
	}
	if in.rip != 0 && p.address {
		return refusedPrefixes
	}
	return ""
}

// readModRM reads ModRM with what belongs to it.
func (in *instruction) readModRM(r *reader) byte {
	in.modrm = r.at
	m := r.byte()
	mod, rm := m>>6, m&7
	if mod == 3 {
		return m
	}
	if rm == 4 {
		if base := r.byte() & 7; mod == 0 && base == 5 {
			mod = 2
		}
	} else if mod == 0 && rm == 5 {
		in.rip = r.at
		mod = 2
	}
	switch mod {
	case 1:
		r.at++
	case 2:
		r.at += 4
	}
	return m
}

// readDistance reads the distance to where a branch leads.
func (in *instruction) readDistance(r *reader, short bool) {
	at := r.at
	in.short = short
	if r.at++; !short {
		r.at += 3
	}
	switch {
	case r.at > len(r.code):
	case short:
		in.target = int(int8(r.code[at]))
	default:
		in.target = int(int32(binary.LittleEndian.Uint32(r.code[at:])))
	}
}

// leads reports whether an instruction says itself where it leads.
func (in *instruction) leads() bool {
	return in.flow == branch || in.flow == jump || in.flow == call
}
