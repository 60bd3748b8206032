package engine

import "errors"

// Why a live patch was not put into a process, or not taken out of it. Ask for them with errors.Is
// in [Result.Err].
var (
	// ErrNoEngine: nothing in the process, and nothing that was allowed, can patch it.
	ErrNoEngine = errors.New("no engine can patch the process")
	// ErrForeign: a function to be replaced is led elsewhere by another engine already. See
	// [ForeignError].
	ErrForeign = errors.New("patched by another engine")
	// ErrBuildID: the process has a library of the target's name, but not of the build that the
	// container is for.
	ErrBuildID = errors.New("the process runs another build of the library")
	// ErrNotLoaded: the process does not have the library.
	ErrNotLoaded = errors.New("the library is not loaded in the process")
	// ErrApplied: the live patch is applied already.
	ErrApplied = errors.New("already applied")
	// ErrNotApplied: the live patch to be reverted is not applied.
	ErrNotApplied = errors.New("not applied")
	// ErrNoPatches: no live patch of the library is applied, so that there is nothing to revert.
	ErrNoPatches = errors.New("no live patches are applied")
	// ErrInUse: a thread is in a function that is to be switched, or will return into it, and that
	// was not to be.
	ErrInUse = errors.New("a thread is in a function that is replaced")
	// ErrBlocked: the process must not be patched: its owner wants it so, by an environment
	// variable or since.
	ErrBlocked = errors.New("blocked by the user's request")
	// ErrElsewhere: the process belongs to another system on this machine, which has to care for
	// it.
	ErrElsewhere = errors.New("left alone")
	// ErrFrozen: the freezer of a control group keeps the process from running.
	ErrFrozen = errors.New("the process is frozen (cgroup.freeze, a paused container): try again " +
		"when it runs")
	// ErrNotReady: the engine's part in the process is not initialised yet.
	ErrNotReady = errors.New("the process is still starting")
	// ErrNoMetadata: a file is no live patch, or cannot be read as one.
	ErrNoMetadata = errors.New("no metadata in .so")
	// ErrDeadline: the time for the process, or for all of them, was over.
	ErrDeadline = errors.New("timed out")
	// ErrInterrupted: the run ended before the process was begun.
	ErrInterrupted = errors.New("interrupted before it was begun")
	// ErrNotProcess: the number belongs to a thread and not to a process.
	ErrNotProcess = errors.New("that is a thread, not a process")
	// ErrNoProcess: there is no process of that number.
	ErrNoProcess = errors.New("no such process")
	// ErrPermission: this user may not stop the process, or not look into it.
	ErrPermission = errors.New("not permitted: run this as the owner of the process, or as root")
	// ErrNoUser: a selector names a user that does not exist.
	ErrNoUser = errors.New("no such user")
)

// FileError is why a file cannot be used as a container. It is an ErrNoMetadata.
type FileError struct {
	File string // as it was named
	Err  error
}

// Error returns "FILE: REASON".
func (e *FileError) Error() string { return e.File + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *FileError) Unwrap() error { return e.Err }

// Is makes every FileError an ErrNoMetadata.
func (e *FileError) Is(target error) bool { return target == ErrNoMetadata }
