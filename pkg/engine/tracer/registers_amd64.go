package tracer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// supported says that this architecture has what arch_other.go lists.
const supported = true

// Registers are a thread's general registers.
type Registers struct{ unix.PtraceRegs }

func (r *Registers) pc() uint64 { return r.Rip }
func (r *Registers) sp() uint64 { return r.Rsp }

// setPC changes the program counter, unless the kernel is going to do so itself.
func (r *Registers) setPC(pc uint64) error {
	if r.restarts() {
		return fmt.Errorf("system call %d is going to be restarted: %w", r.Orig_rax, unix.EBUSY)
	}
	r.Rip = pc
	return nil
}

// bytes are the registers as the kernel wants them.
func (r *Registers) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
}

// Segments of 64-bit programs: the kernel's own, and those of Xen where the kernel is a
// paravirtualised guest.
const (
	userCS, userSS = 0x33, 0x2b
	xenCS, xenSS   = 0xe033, 0xe02b
)

// readRegisters refuses what is not an ordinary 64-bit thread.
func readRegisters(tid int) (r Registers, err error) {
	n, err := regset(unix.PTRACE_GETREGSET, tid, unix.NT_PRSTATUS, r.bytes())
	switch {
	case err != nil:
		return r, err
	case n != int(unsafe.Sizeof(r)) || r.Cs != userCS && r.Cs != xenCS:
		return Registers{}, fmt.Errorf("32-bit code: %w", ErrUnsupported)
	case r.Ss != userSS && r.Ss != xenSS:
		return Registers{}, fmt.Errorf("a stack segment of its own: %w", ErrUnsupported)
	}
	return r, nil
}

// setRegisters is one step: the kernel carries it out or not.
func setRegisters(tid int, r *Registers) error {
	_, err := regset(unix.PTRACE_SETREGSET, tid, unix.NT_PRSTATUS, r.bytes())
	return err
}

const (
	sysSigreturn = unix.SYS_RT_SIGRETURN
	auditArch    = unix.AUDIT_ARCH_X86_64
)

// What a system call returns inside the kernel when a signal or a stop interrupted it. User space
// never sees these.
const (
	erestartsys          = 512
	erestartnointr       = 513
	erestartnohand       = 514
	erestartRestartblock = 516
	syscallLen           = 2 // length of the syscall instruction (and of int $0x80)
)

// inSyscall reports whether the thread is on its way out of a system call; value is what that
// returned.
func (r *Registers) inSyscall() (nr uint64, value int64, ok bool) {
	return r.Orig_rax, int64(r.Rax), int64(r.Orig_rax) >= 0
}

// restarts reports whether the kernel is going to restart a system call when the thread goes on.
func (r *Registers) restarts() bool {
	_, v, ok := r.inSyscall()
	return ok && slices.Contains([]int64{erestartsys, erestartnointr, erestartnohand,
		erestartRestartblock}, -v)
}

// resumed returns the registers with the restart carried out, for a sigframe: after rt_sigreturn
// the kernel knows of no system call. ERESTART_RESTARTBLOCK would go on with the time that is left,
// which rt_sigreturn forgets too; of the two ways that remain, EINTR out of nowhere and starting
// anew, the second breaks no program.
func (r Registers) resumed() Registers {
	if r.restarts() {
		r.Rax = r.Orig_rax
		r.Rip -= syscallLen
	}
	r.Orig_rax = ^uint64(0)
	return r
}

// entrance is an instruction that makes a system call, with the numbers that calls have there.
type entrance struct {
	code    [syscallLen]byte
	restart uint64   // restart_syscall
	sleeps  []uint64 // the calls that the kernel goes on with instead of restarting them
}

// entrances are syscall, and int $0x80, which is there for programs of 32 bits, and for others all
// the same: poll, nanosleep, futex and clock_nanosleep; the last two there once more with a time of
// 64 bits.
var entrances = []entrance{
	{[...]byte{0x0f, 0x05}, unix.SYS_RESTART_SYSCALL, []uint64{unix.SYS_POLL, unix.SYS_NANOSLEEP,
		unix.SYS_FUTEX, unix.SYS_CLOCK_NANOSLEEP}},
	{[...]byte{0xcd, 0x80}, 0, []uint64{168, 162, 240, 267, 422, 407}},
}

// entranceOf returns the entrance with an instruction; nil if it is none.
func entranceOf(code []byte) *entrance {
	for i := range entrances {
		if bytes.Equal(code, entrances[i].code[:]) {
			return &entrances[i]
		}
	}
	return nil
}

// isRestart reports whether a number is that of restart_syscall, where that is looked for at all.
func isRestart(nr uint64) bool {
	return slices.ContainsFunc(entrances, func(e entrance) bool { return e.restart == nr })
}

// unrestarted undoes what the kernel has done to go on with a sleep, if the thread stands just
// before it: the registers are again those of a call that is going to be restarted, which the
// kernel will turn into the same ones. So the rest need not know of this moment, which is short,
// but after a tracer that has just ended it is likely to be met.
func (r Registers) unrestarted(tid int) Registers {
	var code [syscallLen]byte
	if !isRestart(r.Rax) || stackRead(tid, r.Rip, code[:]) != nil {
		return r
	}
	e := entranceOf(code[:])
	if e == nil || r.Rax != e.restart {
		return r
	}
	if !slices.Contains(e.sleeps, r.Orig_rax) {
		// the kernel has already left, and came back for something else
		r.Orig_rax = e.restart
	}
	r.Rax, r.Rip = 1<<64-erestartRestartblock, r.Rip+syscallLen
	return r
}

// onFrame is resumed for a sigframe. A call that was restarted once is restart_syscall to the
// kernel, which after rt_sigreturn does not know any more what it stands for: the code before it
// tells.
func (r Registers) onFrame(tid int) Registers {
	back := r.resumed()
	var code [32 + syscallLen]byte
	if !isRestart(r.Orig_rax) || !r.forgetsTime() || stackRead(tid, r.Rip-uint64(len(code)),
		code[:]) != nil {
		return back
	}
	if e := entranceOf(code[32:]); e != nil && r.Orig_rax == e.restart {
		back.Rax = e.restartedCall(code[:32])
	}
	return back
}

// restartedCall looks for mov $NUMBER,%eax with one of the calls that are restarted so, nearest to
// the end of the code. Where there is none, restart_syscall will return EINTR.
func (e *entrance) restartedCall(code []byte) uint64 {
	for i := len(code) - 5; i >= 0; i-- {
		if code[i] != 0xb8 {
			continue
		}
		if nr := uint64(binary.LittleEndian.Uint32(code[i+1:])); slices.Contains(e.sleeps, nr) {
			return nr
		}
	}
	return e.restart
}

// eintrCalls are the system calls that end with EINTR because of a stop, without having done
// anything (signal(7)): semop, semtimedop, rt_sigtimedwait, epoll_wait, epoll_pwait, epoll_pwait2,
// and on sockets with a timeout accept, accept4, recvfrom, recvmsg, sendto, sendmsg and what else
// does I/O on them; besides, some drivers and io_uring.
var eintrCalls = []uint64{
	unix.SYS_SEMOP, unix.SYS_SEMTIMEDOP, unix.SYS_RT_SIGTIMEDWAIT, unix.SYS_EPOLL_WAIT,
	unix.SYS_EPOLL_PWAIT,
	unix.SYS_EPOLL_PWAIT2, unix.SYS_ACCEPT, unix.SYS_ACCEPT4, unix.SYS_RECVFROM, unix.SYS_RECVMSG,
	unix.SYS_SENDTO,
	unix.SYS_SENDMSG, unix.SYS_RECVMMSG, unix.SYS_SENDMMSG, unix.SYS_CONNECT, unix.SYS_READ,
	unix.SYS_WRITE, unix.SYS_READV,
	unix.SYS_WRITEV, unix.SYS_IO_GETEVENTS, unix.SYS_IO_URING_ENTER,
}

// restartEINTR turns the EINTR that a stop caused into "restart, unless a handler runs". The kernel
// decides which it is when the thread goes on, so that a program that waits for its handler's EINTR
// gets it.
func (r *Registers) restartEINTR(tid int) bool {
	nr, v, ok := r.inSyscall()
	if !ok || v != -int64(unix.EINTR) || !slices.Contains(eintrCalls, nr) {
		return false
	}
	var b [syscallLen]byte // int $0x80 has other numbers
	if stackRead(tid, r.Rip-syscallLen, b[:]) != nil || !bytes.HasPrefix(syscallRet, b[:]) {
		return false
	}
	r.Rax = 1<<64 - erestartnohand
	return true
}

// result splits what a system call returned.
func (r *Registers) result() Result {
	if v := int64(r.Rax); v < 0 && v >= -4095 {
		return Result{Errno: unix.Errno(-v)}
	}
	return Result{Value: r.Rax}
}

const eflagsAway = 0x202 // interrupts on, direction forward, no single step

// takenBack reports whether a system call ended as if it had not been made: a filter caught it.
func (r *Registers) takenBack(c Call) bool { return r.Rax == c.Nr }

// entersReturn reports whether a thread that enters a system call enters the rt_sigreturn of its
// sigframe.
func (r *Registers) entersReturn(f sigframe) bool {
	return r.Orig_rax == sysSigreturn && r.Rsp == f.uc
}

// toCall returns the registers for one system call: on the instruction, with the way back under the
// stack pointer.
func (r Registers) toCall(c Call, g Gadgets, f sigframe) Registers {
	r.Rax, r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9 = c.Nr, c.Args[0], c.Args[1], c.Args[2],
		c.Args[3], c.Args[4], c.Args[5]
	r.Rip, r.Rsp, r.Eflags, r.Orig_rax = g.Syscall, f.uc-8, eflagsAway, ^uint64(0)
	return r
}

// leftSyscall makes the kernel see no system call in the registers: they are set at a stop of
// another one.
func (r *Registers) leftSyscall() { r.Orig_rax = ^uint64(0) }

// toReturn returns registers that stand before the way back.
func (r Registers) toReturn(g Gadgets, f sigframe) Registers {
	r.Rip, r.Rsp, r.Eflags, r.Orig_rax = g.Restorer, f.uc, eflagsAway, ^uint64(0)
	return r
}

// forgetsTime reports whether an interrupted system call would go on with the time that is left,
// which rt_sigreturn forgets.
func (r *Registers) forgetsTime() bool {
	_, v, ok := r.inSyscall()
	return ok && v == -erestartRestartblock
}

// toFunction returns the registers at a function's entry, with the way back as its return address.
func (r Registers) toFunction(fn uint64, args []uint64, g Gadgets, f sigframe) Registers {
	for i, to := range []*uint64{&r.Rdi, &r.Rsi, &r.Rdx, &r.Rcx, &r.R8, &r.R9} {
		if *to = 0; i < len(args) {
			*to = args[i]
		}
	}
	*map[register]*uint64{rbx: &r.Rbx, rbp: &r.Rbp, r12: &r.R12, r13: &r.R13, r14: &r.R14,
		r15: &r.R15}[g.reg] = f.value
	r.Rax, r.Rip, r.Rsp, r.Eflags, r.Orig_rax = 0, fn, f.call, eflagsAway, ^uint64(0)
	return r
}
