package process

import (
	"errors"
	"fmt"
	"syscall"
)

// Why something could not be seen. Ask for them with errors.Is.
var (
	// ErrGone: there is no such process any more, or its pid belongs to another one now.
	ErrGone = errors.New("the process is gone")
	// ErrChanged: the process runs another program than when it was looked at: it called exec. Look again.
	ErrChanged = errors.New("the process started another program")
	// ErrPermission: the kernel does not let this user see it. The owner of the process or root may.
	ErrPermission = errors.New("not permitted: needs the owner of the process, or root")
	// ErrNoMemory: the process has no memory of its own: a zombie or a kernel thread.
	ErrNoMemory = errors.New("no memory: zombie or kernel thread")
	// ErrUnreadable: memory that is not mapped, or whose file was cut off below it.
	ErrUnreadable = errors.New("memory is not readable")
	// ErrMalformed: what stands in the process breaks the rules of its format.
	ErrMalformed = errors.New("malformed")
	// ErrLimit: there is more of it than a process in its right mind has.
	ErrLimit = errors.New("too large")
	// ErrBusy: too many processes do not answer at the same time.
	ErrBusy = errors.New("too many processes do not answer")
	// ErrNoProc: no process is to be seen at all, not even the one that looks.
	ErrNoProc = errors.New("no process is to be seen there: is it mounted?")
	// ErrClosed: the Memory was closed.
	ErrClosed = errors.New("closed")
)

// LookError says what of which process could not be seen. Err wraps one of the errors above, ErrUnsupported or
// ErrNoSymbol of package ulp, or the context's error, or is that of the system call. Its text never has words of the
// process in it.
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
	switch {
	case errors.Is(err, syscall.ESRCH), errors.Is(err, syscall.ENOENT):
		err = ErrGone
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		err = ErrPermission
	}
	return &LookError{PID: pid, What: what, Err: err}
}

// malformed returns an ErrMalformed with the reason.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
