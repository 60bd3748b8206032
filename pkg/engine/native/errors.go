package native

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Why a process was not changed. Ask for them with errors.Is; each is inside an [*Error]. Whatever
// the reason, the process is as it was before.
var (
	// ErrContainer: the container needs something that only the dynamic loader can give it. See
	// [NewPatch].
	ErrContainer = errors.New("the native engine cannot load this container")
	// ErrEntry: the function's entry cannot be changed safely.
	ErrEntry = errors.New("no detour can be put at the function's entry")
	// ErrUnwinding: exceptions, or the cancellation of a thread, are expected to pass through the
	// function, which handles them. The unwinder would not find the replacement, and what the
	// function cleans up would not be.
	ErrUnwinding = errors.New("the unwinder would not find its replacement; in a process that " +
		"has libpulp.so it would")
	// ErrForeign: somebody else, such as libpulp, already leads the function elsewhere.
	ErrForeign = errors.New("the function is patched by another tool: revert it with that one " +
		"first")
	// ErrNoLibrary: the process does not have the target mapped.
	ErrNoLibrary = errors.New("the library is not loaded")
	// ErrNoLoader: the process was started without a dynamic loader, and has the library all the
	// same. Emulators are like that: what they know to be mapped is what the program that they run
	// has mapped, and what lies elsewhere ends that.
	ErrNoLoader = errors.New("the process has no dynamic loader: it runs in an emulator " +
		"(valgrind, qemu), or has loaded the library by itself")
	// ErrUnlisted: the dynamic loader does not list the library, where other symbols would be
	// looked up.
	ErrUnlisted = rtld.ErrUnlisted
	// ErrUnresolved: the container needs a symbol that no library in the process has, or of which
	// it is not known where it is.
	ErrUnresolved = rtld.ErrUnresolved
	// ErrApplied: the very same live patch is active already. Nothing is to be done.
	ErrApplied = errors.New("the live patch is already applied")
	// ErrNotApplied: the live patch to be reverted is not there.
	ErrNotApplied = errors.New("the live patch is not applied")
	// ErrSeccomp: a filter forbids the process a system call that loading needs, or its filter
	// cannot be seen.
	ErrSeccomp = errors.New("seccomp does not let the process load a live patch")
	// ErrNoRoom: the address space has no free range of that size, or none near enough to the
	// library.
	ErrNoRoom = errors.New("no room in the address space")
	// ErrRefused: the kernel refused the process a system call: limits of memory or of open files,
	// security modules.
	ErrRefused = errors.New("the kernel refused")
	// ErrAgain: a thread is where it must not be at this moment, or the dynamic loader is at work.
	// Let the process run, and try again.
	ErrAgain = errors.New("a thread is in the way: try again")
	// ErrNotRunning: a thread was to make system calls that take no time, and did not get to it.
	// Its process is frozen (a cgroup's freezer), or the machine very busy.
	ErrNotRunning = errors.New("its threads do not run: it is frozen (cgroup.freeze, a paused " +
		"container), or the machine very busy")
	// ErrLate: the process would have been stopped for longer than Options.MaxStop. Nothing was
	// changed.
	ErrLate = errors.New("it would have been stopped for too long")
	// ErrShared: another process, which is no thread of it, has the same memory, as after vfork or
	// with CLONE_VM, when the change was planned or when the process stood.
	ErrShared = errors.New("it has the same memory: try again when that process has ended, or " +
		"executed a program")
	// ErrStale: the process changed since it was looked at. Plan again.
	ErrStale = errors.New("the process has changed since it was planned: plan again")
	// ErrDamaged: the records of lpbuild in the process are not what lpbuild writes. Nothing there
	// is touched any more.
	ErrDamaged = errors.New("lpbuild's records in the process are damaged")
	// ErrLimit: there is more of it than a process in its right mind has.
	ErrLimit = errors.New("too large")
)

// ContainerError is one reason why a container cannot be loaded: an [ErrContainer].
type ContainerError struct {
	Code string // a word that stays the same, for programs: "constructors"
	What string // what is true of the container: "it has constructors, which would not run"
	Hint string // what to do about it; "" if nothing is known
}

// Error returns ErrContainer's text and the reason.
func (e *ContainerError) Error() string { return ErrContainer.Error() + ": " + e.What }

// Unwrap makes it an ErrContainer.
func (*ContainerError) Unwrap() error { return ErrContainer }

// BusyError is an ErrAgain: a thread is in a function that is to be switched, or will return into
// it.
type BusyError struct {
	TID      int    // of the thread
	Function string // the name of the function that is replaced
}

// Error returns which thread is where.
func (e *BusyError) Error() string {
	return fmt.Sprintf("thread %d is in %q, or returns into it: %v", e.TID, e.Function, ErrAgain)
}

// Is makes every BusyError an ErrAgain.
func (e *BusyError) Is(target error) bool { return target == ErrAgain }

// SharedError is an ErrShared.
type SharedError struct {
	PID int // of the other process
}

// Error returns which process has the same memory.
func (e *SharedError) Error() string { return fmt.Sprintf("process %d: %v", e.PID, ErrShared) }

// Is makes every SharedError an ErrShared.
func (e *SharedError) Is(target error) bool { return target == ErrShared }

// Error says what was being done in which process. Err wraps one of the errors above, or is that of
// package process or tracer.
type Error struct {
	PID  int
	What string // "" if Err says it all
	Err  error
}

// Error returns "process PID: WHAT: REASON".
func (e *Error) Error() string {
	process := fmt.Sprintf("process %d: ", e.PID)
	reason := strings.TrimPrefix(e.Err.Error(), process)
	if e.What == "" {
		return process + reason
	}
	return process + e.What + ": " + reason
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

// Is makes an ErrAgain of what is not known while the dynamic loader is at work.
func (e *Error) Is(target error) bool {
	return target == ErrAgain && errors.Is(e.Err, rtld.ErrLoading)
}

// pidError puts the process before an error, once.
func pidError(pid int, what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok && e.PID == pid {
		return err
	}
	return &Error{PID: pid, What: what, Err: err}
}

// refusals is why no way was permitted: the first one's reason counts, and the others' are told,
// each once: a filter that forbids mmap forbids it in every way.
func refusals(errs []error) error {
	err, told := errs[0], []string{errs[0].Error()}
	for _, e := range errs[1:] {
		if text := e.Error(); !slices.Contains(told, text) {
			told = append(told, text)
			err = fmt.Errorf("%w; %v", err, e) //nolint:errorlint // it is not the reason
		}
	}
	return err
}
