package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// ErrVfork means that a process still has the memory of its parent, which is stopped until it
// executes a program or ends. What it is patched with would be its parent's.
var ErrVfork = errors.New("the process shares the memory of its parent (vfork)")

// ErrShared means that another process has the memory of this one, and so runs what is changed, or
// keeps it from standing still: a child that has not executed a program yet (vfork), or one that
// was made so (CLONE_VM).
var ErrShared = errors.New("another process shares its memory (vfork, CLONE_VM)")

// stoppable returns a tracer.ErrOurTracer for a process that must not be stopped, since it traces
// this one.
func stoppable(p *process.Process) error {
	err := tracer.Stoppable(p.PID)
	if errors.Is(err, tracer.ErrOurTracer) {
		return tracer.ErrOurTracer
	}
	return err
}

// vforked returns an AgainError with ErrVfork for a process that has the memory of its parent. A
// parent that is gone (ESRCH) has none, and one that this user may not ask about (EPERM) has memory
// that this user may not touch, in which no child of it is touched either. On a kernel without
// kcmp(2) it cannot be known, which is an error.
func vforked(p *process.Process) error {
	if p.ParentPID <= 0 {
		return nil
	}
	same, err := process.SameMemory(p.PID, p.ParentPID)
	switch {
	case same:
		return &AgainError{Err: ErrVfork}
	case err == nil, errors.Is(err, unix.ESRCH), errors.Is(err, unix.EPERM):
		return nil
	}
	return fmt.Errorf("cannot tell whether it shares its parent's memory: kcmp: %w", err)
}

var sharers process.Sharers

// notStopping makes an ErrShared of the error of a process that did not stop, if its memory is
// another one's too: a thread that waits for a child after vfork cannot be stopped.
func notStopping(p *process.Process, err error) error {
	if !errors.Is(err, tracer.ErrNotStopping) {
		return err
	}
	if other, _, _ := sharers.With(p); other != 0 { // if that is not known, that it did not stop is
		return &AgainError{Err: sharedBy(other, err), Unreached: true}
	}
	return err
}

// sharedBy is the ErrShared that names a process, with what came of it.
func sharedBy(other int, err error) error {
	return fmt.Errorf("%w, process %d: %w", ErrShared, other, err)
}
