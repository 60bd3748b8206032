package procfs

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Why a file could not be read. Ask for them with errors.Is.
var (
	// ErrGone means that the task does not exist any more, or will never run again.
	ErrGone = errors.New("the process is gone")
	// ErrLeader means that a file shows nothing because the first thread has ended. Other threads
	// go on; their files show it.
	ErrLeader = errors.New("its first thread has ended")
	// ErrPermission means that the kernel does not let this user see it.
	ErrPermission = errors.New("not permitted: run this as the owner of the process, or as root")
	// ErrMalformed means that a file is not what the kernel writes: cut off, garbled, or without a
	// field that /proc/self has.
	ErrMalformed = errors.New("malformed")
	// ErrAbsent means that this kernel has no such file for any process.
	ErrAbsent = errors.New("the kernel has no such file")
	// ErrLimit means that there is more of it than fits.
	ErrLimit = errors.New("too large")
	// ErrUnreadable means memory that is not mapped, or whose file ends before it.
	ErrUnreadable = errors.New("memory is not readable")
	// ErrNoProc means that there is no proc file system where one was expected.
	ErrNoProc = errors.New("it shows no processes: is proc mounted there?")
)

// Error is what the methods of Dir return: the file below /proc/PID, and one of the errors above or
// the kernel's.
type Error struct {
	File string
	Err  error
}

func (e *Error) Error() string { return e.File + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// fail names the file, and finds out what an error means: only here does something become ErrGone.
func (d *Dir) fail(name string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		err = d.refused(name)
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.ENOENT), errors.Is(err, ErrMalformed):
		// the kernel writes nothing, or half of it, of a task that is ending
		err = d.reason(name, err)
	}
	return &Error{File: name, Err: err}
}

// refused returns what it means that a file may not be opened. The files of a task that has no
// memory any more belong to root (task_dump_owner in the kernel's fs/proc/base.c), so that its
// owner, too, is refused while it ends.
func (d *Dir) refused(name string) error {
	task, _ := splitTask(name)
	var b [statSize]byte
	text, err := d.slurp(task+"stat", b[:])
	if err != nil {
		return ErrPermission
	}
	s, err := ParseStat(text)
	switch {
	case err != nil || !s.Over():
		return ErrPermission
	case task == "" && !d.thread && s.Threads > 1:
		return ErrLeader // the files of the others tell whether they may be opened
	}
	return ErrGone
}

// reason returns what it means that a file is not there or makes no sense.
func (d *Dir) reason(name string, err error) error {
	task, file := splitTask(name)
	var b [statSize]byte
	text, statErr := d.slurp(task+"stat", b[:])
	if errors.Is(statErr, unix.ENOENT) || errors.Is(statErr, unix.ESRCH) {
		var st unix.Stat_t
		if errors.Is(unix.Fstat(d.fd, &st), unix.ENOENT) {
			// hidden by the option hidepid=2; a task that is gone has a directory
			return ErrPermission
		}
		return ErrGone
	}
	var s *Stat
	if statErr == nil {
		s, statErr = ParseStat(text)
	}
	switch {
	case statErr != nil: // not known
	case s.Over() && task == "" && !d.thread && s.Threads > 1:
		return ErrLeader
	case s.Over():
		return ErrGone
	}
	switch {
	case errors.Is(err, ErrMalformed):
		return err
	case errors.Is(err, unix.ENOENT) && file != "" && absent(d.root, file):
		return ErrAbsent
	}
	return malformed("missing, although the process is there")
}
