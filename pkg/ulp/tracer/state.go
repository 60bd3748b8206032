package tracer

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"
)

// state is what a thread's status says that matters for sending it away. It is read once, and again when any thread has
// run since: as long as all stand still, nothing in it can change.
type state struct {
	of      *Thread // nil: not read, or not any more true
	seccomp Seccomp
	caught  uint64 // signals with a handler
}

// stateOf reads a thread's state, unless that is known.
func (t *Tracee) stateOf(th *Thread) (state, error) {
	if t.state.of == th {
		return t.state, nil
	}
	var room [taskFileMost]byte
	var b []byte
	if th == t.space.of {
		n, _ := unix.Pread(int(t.space.status.Fd()), room[:], 0)
		b = room[:max(n, 0)]
	} else {
		b, _ = t.dir.read(th.TID, "status")
	}
	caught, err := strconv.ParseUint(statusField(b, "SigCgt"), 16, 64)
	if err != nil {
		return state{}, ErrGone // a thread has no handlers any more
	}
	mode, _ := strconv.Atoi(statusField(b, "Seccomp")) // no such line: a kernel without seccomp
	t.state = state{of: th, seccomp: Seccomp(mode), caught: caught}
	return t.state, nil
}

// statusField returns a field of a thread's status; empty if there is none.
func statusField(b []byte, name string) string {
	_, rest, _ := bytes.Cut(b, []byte("\n"+name+":\t"))
	value, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(value)
}
