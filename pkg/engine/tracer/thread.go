package tracer

import "time"

// Thread is one thread of a Tracee.
type Thread struct {
	// TID is its thread id in this process's pid namespace.
	TID int
	// Since is when it was seen to be stopped.
	Since time.Time
	// GroupStop says that it is stopped by SIGSTOP or the like besides; it stays so after Detach.
	GroupStop bool

	regs        Registers
	interrupted bool // or let go for a while
	stopped     bool // in a ptrace stop, as far as known
	gone        bool
	excursion   *excursion // not nil while its registers are not its own
}

// Registers returns the general registers as they were when the thread stopped. A thread that was
// interrupted inside a system call stands after the instruction that made it.
func (th *Thread) Registers() Registers { return th.regs }

// Running says that the thread was not in a system call that waits for something when it was
// stopped.
func (th *Thread) Running() bool { return !th.regs.restarts() }

// InSyscall reports whether the thread was stopped inside a system call.
func (th *Thread) InSyscall() bool {
	_, _, in := th.regs.inSyscall()
	return in
}

// PC returns the program counter.
func (th *Thread) PC() uint64 { return th.regs.pc() }

// SP returns the stack pointer.
func (th *Thread) SP() uint64 { return th.regs.sp() }
