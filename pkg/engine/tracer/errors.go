package tracer

import (
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// What can be wrong with a process, for errors.Is. Each is wrapped in an [*Error] that says which
// process and thread.
var (
	// ErrGone means that the process does not exist (any more), or is a zombie.
	ErrGone = procfs.ErrGone
	// ErrPermission means that the kernel does not let the caller trace the process.
	ErrPermission = errors.New("not permitted to trace the process")
	// ErrTraced means that another tracer has the process; [Error.Tracer] says which.
	ErrTraced = errors.New("another process traces it")
	// ErrNotStopping means that a thread did not stop before the deadline: it sleeps
	// uninterruptibly or waits for its vfork child.
	ErrNotStopping = errors.New("a thread does not stop")
	// ErrUnsupported means that the process is of a kind that cannot be handled: 32-bit, shadow
	// stacks, a kernel thread, another CPU architecture.
	ErrUnsupported = errors.New("unsupported kind of process")
	// ErrExec means that the process replaced itself by another program while it was stopped.
	ErrExec = errors.New("the process executed another program")
	// ErrGadget means that the instructions needed to run something in the target are not where
	// they were said to be.
	ErrGadget = errors.New("no such instructions in the target")
	// ErrSeccomp means that a filter of the thread's system calls would kill it on its way, or may
	// do so for all that can be seen.
	ErrSeccomp = errors.New("the system call filter forbids it")
	// ErrDispatched means that the thread's system calls may go to the program instead of the
	// kernel.
	ErrDispatched = errors.New("the program handles system calls itself " +
		"(PR_SET_SYSCALL_USER_DISPATCH), as Wine does")
	// ErrStack means that there is no memory of which it is known that the program does not use it.
	// A thread needs some to be sent away and find its way back.
	ErrStack = errors.New("no memory is known to be unused")
	// ErrFault means that the function called raised a signal; [Error.Signal] says which. The
	// thread was put back.
	ErrFault = errors.New("the called function raised a signal")
	// ErrDetached means that the tracee was detached before.
	ErrDetached = errors.New("already detached")
)

// Error is what every function of this package returns: Err, often one of the sentinels above, and
// where.
type Error struct {
	Op     string // what was being done; "" if Err says it all
	PID    int    // process
	TID    int    // thread, 0 if none in particular
	Tracer int    // with ErrTraced: the tracer's process id, 0 if unknown
	Signal int    // with ErrFault: the signal's number
	Err    error
}

func (e *Error) Error() string {
	s := fmt.Sprintf("process %d", e.PID)
	if e.TID != 0 && e.TID != e.PID {
		s += fmt.Sprintf(", thread %d", e.TID)
	}
	if e.Op != "" {
		s += ": " + e.Op
	}
	s += fmt.Sprintf(": %v", e.Err)
	if e.Tracer != 0 {
		s += fmt.Sprintf(" (process %d)", e.Tracer)
	}
	if e.Signal != 0 {
		s += fmt.Sprintf(" (signal %d)", e.Signal)
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
