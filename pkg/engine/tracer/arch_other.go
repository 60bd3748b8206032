//go:build !amd64

package tracer

import (
	"io"

	"golang.org/x/sys/unix"
)

// What an architecture has to bring, in files of its own: its registers, its signal frame, and the
// instructions that lead through them. Where it is missing, [Run] returns ErrUnsupported before
// anything else here is called.
const (
	supported    = false
	frameMost    = 0
	redZone      = 0
	xsaveMost    = 0
	sysSigreturn = unix.SYS_RT_SIGRETURN
	auditArch    = 0
)

// Registers are a thread's general registers.
type Registers struct{}

func (*Registers) pc() uint64 { return 0 }
func (*Registers) sp() uint64 { return 0 }
func (*Registers) setPC(uint64) error {
	return ErrUnsupported
}
func (*Registers) restarts() bool                                            { return false }
func (*Registers) restartEINTR(int) bool                                     { return false }
func (*Registers) forgetsTime() bool                                         { return false }
func (*Registers) leftSyscall()                                              {}
func (*Registers) result() Result                                            { return Result{} }
func (*Registers) takenBack(Call) bool                                       { return false }
func (*Registers) entersReturn(sigframe) bool                                { return false }
func (*Registers) inSyscall() (uint64, int64, bool)                          { return 0, 0, false }
func (r Registers) resumed() Registers                                       { return r }
func (r Registers) unrestarted(int) Registers                                { return r }
func (r Registers) onFrame(int) Registers                                    { return r }
func (r Registers) toCall(Call, Gadgets, sigframe) Registers                 { return r }
func (r Registers) toReturn(Gadgets, sigframe) Registers                     { return r }
func (r Registers) toFunction(uint64, []uint64, Gadgets, sigframe) Registers { return r }

func readRegisters(int) (Registers, error) {
	return Registers{}, ErrUnsupported
}
func setRegisters(int, *Registers) error {
	return ErrUnsupported
}
func warmUp() {}
func readXstate(int, []byte) ([]byte, error) {
	return nil, ErrUnsupported
}
func restoreXstate(int, []byte) error {
	return ErrUnsupported
}
func signalXstate([]byte, *scratch) ([]byte, error) {
	return nil, ErrUnsupported
}
func initialXstate(x []byte) []byte { return x }
func entersFunctions([]byte) bool   { return false }
func shadowStack(int) bool          { return true }
func newSigframe(Registers, []byte, uint64, uint64, Gadgets, *scratch) sigframe {
	return sigframe{}
}
func trapTarget([]byte, uint64) (uint64, bool) { return 0, false }

// place is where a result goes.
type place struct{}

func (*sigframe) prependChain([]BatchCall, [][]place, Registers, uint64, Gadgets) chain {
	return chain{}
}
func chainPlaces([]BatchCall) [][]place  { return nil }
func wipingPlaces([]BatchCall) [][]place { return nil }

// Gadgets are addresses of instructions in the target's own executable memory.
type Gadgets struct{}

func (*Gadgets) complete() bool             { return false }
func (*Gadgets) usable() bool               { return false }
func (*Gadgets) canCall() bool              { return false }
func (*Gadgets) canBatch() bool             { return false }
func (*Gadgets) scan([]byte, uint64)        {}
func (*Gadgets) scanStores([]byte, uint64)  {}
func (*Gadgets) verify(io.ReaderAt) error   { return ErrUnsupported }
func (*Gadgets) afterSyscall(uint64) uint64 { return 0 }
func (*Gadgets) at(uint64) bool             { return false }
