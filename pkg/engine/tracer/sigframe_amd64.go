package tracer

import "encoding/binary"

// The signal frame as rt_sigreturn reads it, from the stack pointer on: a ucontext. What a frame
// for a handler has around it (the handler's return address below, siginfo above) is not read.
const (
	ucLen     = 304
	ucContext = 40 // general registers, in the order of writeContext
	ucFPState = ucContext + 23*8
	ucMask    = 296
	ucXstate  = 1 // flags: there is XSAVE state; ss is saved, and to be restored as it is
	ucSS      = 2 | 4
	redZone   = 128
	// a function's result, above the ucontext
	resultRoom = 16
	// bound of Gadgets' gap
	maxStoreGap = 256
	// besides the extended registers
	frameMost = redZone + xsaveAlign + ucLen + resultRoom + maxStoreGap + 64
)

// newSigframe lays out the way back to the registers r, extended registers x (from signalXstate)
// and signal mask, below the red zone of a stack pointer: the thread's own, or another one. From
// low to high: what a called function returns to (Store's address, its gap, the restorer's
// address), ucontext, room for a result, XSAVE state, red zone.
func newSigframe(r Registers, x []byte, mask, top uint64, g Gadgets, room *scratch) sigframe {
	le := binary.LittleEndian
	fp := (top - redZone - uint64(len(x))) &^ (xsaveAlign - 1)
	// A function wants its stack pointer at 8 modulo 16 when it is entered: that decides where the
	// ucontext is.
	entry := (fp-ucLen-resultRoom-16-8-g.gap)&^15 - 8
	f := sigframe{base: entry, call: entry, uc: entry + 16 + g.gap, scratch: room}
	f.value = f.uc + ucLen
	f.data = room.take(int(fp - f.base + uint64(len(x))))
	le.PutUint64(f.data, g.Store)
	uc := f.data[f.uc-f.base:]
	le.PutUint64(f.data[f.uc-f.base-8:], g.Restorer)
	writeUcontext(uc, &r, fp, mask)
	copy(f.data[fp-f.base:], x)
	return f
}

// writeUcontext writes a context for rt_sigreturn.
func writeUcontext(uc []byte, r *Registers, fp, mask uint64) {
	le := binary.LittleEndian
	// uc_link and uc_stack stay zero: no alternate stack of size 0 is ever set
	le.PutUint64(uc, ucXstate|ucSS)
	r.writeContext(uc[ucContext:])
	le.PutUint64(uc[ucFPState:], fp)
	le.PutUint64(uc[ucMask:], mask)
}

// writeContext writes the general registers in the order of the kernel's sigcontext.
func (r *Registers) writeContext(b []byte) {
	for i, v := range []uint64{
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.Rdi, r.Rsi, r.Rbp, r.Rbx, r.Rdx,
		r.Rax, r.Rcx, r.Rsp,
		r.Rip, r.Eflags, r.Cs | r.Ss<<48,
	} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
}
