package process

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Why something could not be seen. Ask for them with errors.Is.
var (
	// ErrGone: there is no such process any more, or its pid belongs to another one now.
	ErrGone = procfs.ErrGone
	// ErrChanged: the process runs another program than when it was looked at: it called exec. Look
	// again.
	ErrChanged = errors.New("the process started another program")
	// ErrPermission: the kernel does not let this user see it. The owner of the process or root
	// may.
	ErrPermission = procfs.ErrPermission
	// ErrNoMemory: the process has no memory of its own: a zombie or a kernel thread.
	ErrNoMemory = errors.New("no memory: zombie or kernel thread")
	// ErrUnreadable: memory that is not mapped, or whose file was cut off below it.
	ErrUnreadable = rtld.ErrUnreadable
	// ErrMalformed: what stands in the process breaks the rules of its format.
	ErrMalformed = rtld.ErrMalformed
	// ErrLimit: there is more of it than a process in its right mind has.
	ErrLimit = rtld.ErrLimit
	// ErrStarting: the program is just starting, so that not all of its libraries are loaded: see
	// [Memory.Started].
	ErrStarting = rtld.ErrStarting
	// ErrBusy: too many processes do not answer at the same time.
	ErrBusy = errors.New("too many processes do not answer")
	// ErrNoProc: no process is to be seen at all, not even the one that looks.
	ErrNoProc = procfs.ErrNoProc
	// ErrForeignProc: proc shows another PID namespace than that of this process, so that its
	// numbers mean others here.
	ErrForeignProc = procfs.ErrForeign
	// ErrClosed: the Memory was closed.
	ErrClosed = errors.New("closed")
)

// LookError says what of which process could not be seen. Err wraps one of the errors above,
// ErrUnsupported or ErrNoSymbol of package ulp, or the context's error, or is that of the system
// call. Its text never has words of the process in it.
type LookError struct {
	PID  int
	What string // the file below /proc/PID, or the structure in its memory
	Err  error
}

// Error returns "process PID: WHAT: REASON", or "WHAT: REASON" if it is about no process.
func (e *LookError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: %v", e.What, e.Err)
	}
	return fmt.Sprintf("process %d: %s: %v", e.PID, e.What, e.Err)
}

// Unwrap returns the reason.
func (e *LookError) Unwrap() error { return e.Err }

// lookError adds the process and the place to an error, once, and makes ours of the kernel's.
func lookError(pid int, what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*LookError](err); ok {
		return err
	}
	//nolint:errorlint // one that is wrapped has more to say
	if file, ok := err.(*procfs.Error); ok {
		what, err = file.File, file.Err
	}
	switch {
	case errors.Is(err, procfs.ErrLeader):
		err = leaderError{}
	case errors.Is(err, unix.ESRCH):
		err = ErrGone
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		err = ErrPermission
	}
	return &LookError{PID: pid, What: what, Err: err}
}

// leaderError is an ErrChanged of a process whose first thread has ended since it was looked at:
// others show its memory.
type leaderError struct{}

func (leaderError) Error() string { return procfs.ErrLeader.Error() }

// Is reports whether target is ErrChanged.
func (leaderError) Is(target error) bool { return target == ErrChanged }

// malformed returns an ErrMalformed with the reason.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
