package libpulp

import (
	"context"
	"strconv"
	"strings"
)

// State is what libpulp.so says of itself at one moment.
type State struct {
	// Loaded says that its constructors have run. Before, nothing can be done: [ErrAgain].
	Loaded bool
	// Code is 0 if patches can be applied, [ErrBlocked] if the user disabled it in this process,
	// else the error that libpulp.so stopped working at. It is 0 for versions that do not tell.
	Code Code
	// Pending is how many instructions are in the queue: not 0 if an engine that applied or
	// reverted a patch did not get to carry them out. The next Session.Do does.
	Pending int
	// QueueVersion is 0 for versions without a queue, which write themselves.
	QueueVersion int

	newest uint64 // address of the newest patch applied
}

// Enabled reports whether patches can be applied.
func (s State) Enabled() bool { return s.Loaded && s.Code == 0 }

// State reads the state. The error is that of package process.
func (r *Runtime) State(ctx context.Context) (State, error) { return r.state(memory{ctx, r.mem}) }

func (r *Runtime) state(rd reader) (State, error) {
	var b [stateSize]byte
	if err := rd.read(b[:], r.sym.state); err != nil {
		return State{}, err
	}
	s := State{Loaded: b[0] != 0, newest: le.Uint64(b[8:])}
	if r.sym.errorState != 0 {
		code, err := number(rd, r.sym.errorState)
		if err != nil {
			return State{}, err
		}
		s.Code = Code(code)
	}
	if r.sym.queue != 0 {
		h, err := r.queueHeader(rd)
		if err != nil {
			return State{}, err
		}
		s.QueueVersion, s.Pending = int(h.version), h.pending()
	}
	return s, nil
}

// usable returns why nothing can be applied or reverted, nil if it can.
func (s State) usable() error {
	switch {
	case !s.Loaded:
		return verdict(ErrAgain, "libpulp.so is not initialized yet")
	case s.Code == ErrBlocked:
		return &Error{Code: ErrBlocked}
	case s.Code != 0:
		return verdict(s.Code, "libpulp.so stopped working in this process at this error")
	case s.QueueVersion > queueVersion:
		return verdict(ErrOldTool, "the queue in the process has version %d, known is %d",
			s.QueueVersion, queueVersion)
	}
	return nil
}

// plainVersion reports whether v is three numbers.
func plainVersion(v string) bool {
	parts := strings.Split(v, ".")
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil {
			return false
		}
	}
	return len(parts) == 3
}

// atLeast reports whether libpulp.so is of a version or a later one.
func (r *Runtime) atLeast(major, minor, patch int) bool {
	var have [3]int
	for i, p := range strings.SplitN(r.Version, ".", 3) {
		have[i], _ = strconv.Atoi(p) // "" counts as 0
	}
	for i, want := range []int{major, minor, patch} {
		if have[i] != want {
			return have[i] > want
		}
	}
	return true
}
