package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// Status is what became of a process, or of one live patch in it.
type Status int

// The statuses, ascending by what a person wants to know first.
const (
	// it does not concern the process, is not wanted there, or cannot be whatever is done
	Skipped Status = iota
	Already        // it was as it should be
	Changed        // it was applied or reverted; in a dry run: it would be
	Unsure         // a dry run cannot tell: see ErrUnsure
	Failed         // it should have been
)

// String returns "skipped", "already", "done", "unsure" or "failed".
func (s Status) String() string {
	return [...]string{"skipped", "already", "done", "unsure", "failed"}[s]
}

// Result is one step in one process.
type Result struct {
	Step
	File   string // of the container, as it was named; "" for RevertAll
	Status Status
	Err    error // why it was not done; nil if it was
}

// Report is what was done in one process. Name and Exe are untrusted, from the process.
type Report struct {
	PID       int
	Name      string // as FullName has it
	Exe       string // path of the program; "" if it may not be known
	UID       uint32
	Elevated  bool              // it runs with other rights than those of the user who started it
	Container process.Container // in which it runs
	Engine    string            // "" if there is none

	// Status is the highest of the results, or of Err.
	Status Status
	// Left says that it is Skipped although a container is for it: so it has the library, and keeps
	// it as it is.
	Left bool
	// Foreign says that it is Skipped with a target's library of a build that no container is for;
	// those of 32 bits are such.
	Foreign bool
	// Err is why nothing could be done at all; nil if the results say it.
	Err error
	// Note is what else is to be said of the process; "" if nothing is.
	Note string
	// Results are those of the steps that concern the process, in order, and with Options.Every
	// those of all others.
	Results []Result
	// Stop is how long the process was stopped, all attempts together; Attempts how often it was
	// stopped.
	Stop     time.Duration
	Attempts int
	// Late says that one of these stops was longer than Options.MaxStop nevertheless.
	Late bool
}

// Remains reports whether the process is privileged and keeps the library as it is.
func (r *Report) Remains() bool {
	return (r.Elevated || r.UID == 0) && (r.Left || r.Status == Failed)
}

// changed reports whether anything was changed in the process.
func (r *Report) changed() bool {
	return r.Status == Changed || slices.ContainsFunc(r.Results, func(result Result) bool {
		return result.Status == Changed
	})
}

// Summary counts the processes of a run by their status.
type Summary struct {
	Changed, Already, Skipped, Failed int
	// Unsure are processes of which a dry run cannot tell what would become of them.
	Unsure int
	// Foreign are processes with a target's library of a build for which there is no container;
	// they are among Skipped.
	Foreign int
	// Left are processes that have the library and keep it as it is, for reasons that their reports
	// say; they are among Skipped.
	Left int
	// Privileged are processes of root, and such as run with other rights than those of the user
	// who started them, that were skipped or failed although a container is for them.
	Privileged int
	// Denied are processes into which this user may not look. They are not counted otherwise.
	Denied int
	// DeniedNames names the first of them, "NAME (PID)".
	DeniedNames []string
	// LongestStop is the longest time that one process was stopped.
	LongestStop time.Duration
	// Late are processes with a stop that was longer than Options.MaxStop.
	Late int
}

// maxDeniedNames is how many processes that may not be looked at are named. For an ordinary user
// that is nearly all of a machine.
const maxDeniedNames = 16

func (s *Summary) deny(name string, pid int) {
	if s.Denied++; len(s.DeniedNames) < maxDeniedNames {
		s.DeniedNames = append(s.DeniedNames, fmt.Sprintf("%s (%d)", cmp.Or(name, "process"), pid))
	}
}

// Processes returns how many processes were concerned.
func (s *Summary) Processes() int { return s.Changed + s.Already + s.Skipped + s.Failed + s.Unsure }

func (s *Summary) add(r *Report) {
	switch r.Status {
	case Changed:
		s.Changed++
	case Already:
		s.Already++
	case Skipped:
		s.Skipped++
		if r.Foreign {
			s.Foreign++
		}
		if r.Left {
			s.Left++
		}
	case Unsure:
		s.Unsure++
	case Failed:
		s.Failed++
	}
	if r.Remains() {
		s.Privileged++
	}
	s.LongestStop = max(s.LongestStop, r.Stop)
	if r.Late {
		s.Late++
	}
}

// statusOf says what an error means for a step.
func statusOf(err error) Status {
	switch {
	case err == nil:
		return Changed
	case errors.Is(err, ErrUnsure):
		return Unsure
	case errors.Is(err, ErrNothingLeft), errors.Is(err, ErrApplied), errors.Is(err, ErrNotApplied),
		errors.Is(err, ErrNoPatches):
		return Already
	case errors.Is(err, ErrBuildID), errors.Is(err, ErrNotLoaded), errors.Is(err, ErrBlocked),
		errors.Is(err, ErrNoEngine),
		errors.Is(err, ErrVfork), errors.Is(err, ErrShared), errors.Is(err, ErrElsewhere),
		errors.Is(err, ErrKept), errors.Is(err, process.ErrGone),
		errors.Is(err, process.ErrNoMemory),
		errors.Is(err, tracer.ErrOurTracer):
		return Skipped
	}
	return Failed
}
