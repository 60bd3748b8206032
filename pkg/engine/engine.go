package engine

import (
	"context"
	"errors"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Engine is one way to put live patches into running processes.
type Engine interface {
	// Name is what a person calls it: "libpulp", "native".
	Name() string
	// Anywhere says that the engine can work in nearly every process: that it can in one does not
	// make it one of those that a run is about.
	Anywhere() bool
	// Open reports whether the engine can work in a process, from what can be seen without stopping
	// it. The error is an ErrNoEngine if the engine is not for this process, or an [AgainError], or
	// any other if it is but cannot be used. Every Target must be closed.
	Open(ctx context.Context, v *View) (Target, error)
	// Unsure returns [ErrUnsure] if only a stop shows whether the engine can put something into a
	// process.
	Unsure(ctx context.Context, v *View) error
	// Remains returns what the engine left in a process: nil if it never leaves anything in any.
	Remains(ctx context.Context, v *View) (*Remains, error)
}

// Remains is what an engine left in a process, and what no function leads to any more.
type Remains struct {
	// Kept are live patches that were reverted while a thread was in them, the newest first.
	Kept []Applied
	// Left is memory that an engine left which was killed.
	Left native.Leftover
}

// any reports whether there is anything.
func (r *Remains) any() bool { return r != nil && (len(r.Kept) > 0 || r.Left.Mappings > 0) }

// Consistency says where threads may be when functions are switched. It has the values of
// [native.Consistency].
type Consistency int

const (
	// ConsistencyNone is anywhere: calls that began before the switch end in the old function,
	// later ones go to the new.
	ConsistencyNone = Consistency(native.ConsistencySwitch)
	// ConsistencyFunctions is outside of functions that are replaced: no thread may be in one, nor
	// have a call of it on its stack; former code of it that is still in memory counts, too. It is
	// an [AgainError] with ErrInUse while that is so. A dry run cannot see it.
	ConsistencyFunctions = Consistency(native.ConsistencyFunctions)
)

// View is a process as the planner saw it, with its memory open. Engines use it until their Target
// is closed.
type View struct {
	Process   *process.Process
	Memory    *process.Memory
	Libraries []*rtld.Library

	known known
	note  string // for the report
}

// Target is one program in one process, seen by an engine. Nothing but Plan.Do stops the process.
type Target interface {
	// Enabled returns nil if patches can be applied and reverted, an ErrBlocked if the process's
	// owner does not want it, an ErrNotReady, or another reason.
	Enabled(ctx context.Context) error
	// Applied returns the live patches that are applied, the newest first, as they are found in the
	// process itself.
	Applied(ctx context.Context) ([]Applied, error)
	// Comments returns what a live patch that is applied says of itself, as far as its container's
	// file can be read.
	Comments(ctx context.Context, a *Applied) (string, error)
	// Version returns the version of the engine's part in the process, "" if there is none.
	Version() string
	// Alone returns an [AgainError] with ErrShared if another process has the memory of this one.
	Alone() error
	// Replaceable reports whether a library that was not built for live patches has a function
	// that the engine can replace.
	Replaceable(ctx context.Context, l *rtld.Library) (bool, error)
	// CleanUp stops the process and unmaps what of the engine's [Remains] no thread needs; all is
	// false if a thread still needs something.
	CleanUp(ctx context.Context) (all bool, stop time.Duration, err error)
	// Plan decides what can be decided about steps that are to be carried out together, in their
	// order, under one stop. The error is one that concerns all of them.
	Plan(ctx context.Context, steps []Step) (Plan, error)
	// Close frees what the target holds open.
	Close()
}

// Plan is what an engine is going to do in a process.
type Plan interface {
	// Verdicts says for each step why it would not be done, nil if it would. ErrApplied,
	// ErrNotApplied and ErrNoPatches mean that there is nothing to do; ErrNotLoaded that the
	// library of a RevertAll is not there.
	Verdicts() []error
	// Do carries out the steps without a verdict, and returns what became of each (that of Verdicts
	// for the others), and how long the process was stopped. A step that was not tried because of
	// another one has that one's error.
	//
	// If the error is not nil, none was done, and the process is as it was; if it is an
	// [AgainError] it may be otherwise a moment later. ctx ends what has not begun; what has begun
	// is brought to an end.
	Do(ctx context.Context) (Done, error)
}

// Done is what became of a plan.
type Done struct {
	Errs []error       // one for each step
	Stop time.Duration // how long the process was stopped
}

// Kind is what a step does.
type Kind int

// Kinds of steps.
const (
	RevertAll Kind = iota // take all live patches of a library out
	Revert                // take one out
	Apply                 // put one in
	// give memory back that engines left which were killed: see Options.Leftovers
	CleanUp
)

// String returns the word for it.
func (k Kind) String() string {
	switch k {
	case RevertAll:
		return "revert all"
	case Revert:
		return "revert"
	case CleanUp:
		return "clean up"
	}
	return "apply"
}

// Step is one thing to do in a process.
type Step struct {
	Kind      Kind
	Library   string     // base name of the target
	Container *Container // nil for RevertAll
}

// Applied is a live patch in a process. Library and Container are untrusted, from the process.
type Applied struct {
	ID      [32]byte // see ulp.Metadata.PatchID
	Library string   // base name of the target
	BuildID []byte   // of the target; nil if the engine does not keep it
	// of the target; 0: not known. A library can be loaded several times (dlmopen)
	Bias      uint64
	Container string // path of the container, in the process's mount namespace
	Time      time.Time
	// numbers of bugs and CVEs in the container's comments; of a Survey, if they can be read
	Labels    []string
	Functions int
	Engine    string // by which it was applied
}

// AgainError is an error that may not come again: the process was inside malloc, stopped by a
// debugger, or calling exec.
type AgainError struct {
	Err error
	// Unreached says that the process did not even stop in time, which a busy machine is a reason
	// for.
	Unreached bool
}

// inUse is the AgainError of a thread that is in the way.
func inUse(where string) error {
	return &AgainError{Err: &engineError{errors.New(where), ErrInUse}}
}

// Error returns the reason.
func (e *AgainError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *AgainError) Unwrap() error { return e.Err }
