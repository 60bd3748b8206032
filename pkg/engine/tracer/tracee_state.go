package tracer

import (
	"errors"
	"io"
	"math"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// state is what a thread's status says that matters for sending it away. It is read once, and again
// when any thread has run since: as long as all are stopped, nothing in it can change.
type state struct {
	of      *Thread // nil: not read, or not any more true
	seccomp Seccomp
	caught  uint64 // signals with a handler
}

// stateOf reads a thread's state, unless that is known. What cannot be read is an error: a filter
// that is not known may kill.
func (t *Tracee) stateOf(th *Thread) (state, error) {
	if t.state.of == th {
		return t.state, nil
	}
	s, err := t.readStatus(th)
	if err != nil {
		return state{}, err
	}
	t.state = state{of: th, seccomp: Seccomp(s.Seccomp), caught: s.Caught}
	return t.state, nil
}

func (t *Tracee) readStatus(th *Thread) (*procfs.Status, error) {
	if th == t.space.of {
		return t.dir.StatusOf(fromStart(t.space.status), th.TID)
	}
	return t.dir.Status(th.TID)
}

// fromStart reads an open file from its beginning.
func fromStart(f io.ReaderAt) io.Reader { return io.NewSectionReader(f, 0, math.MaxInt64) }

// ended reports whether a thread has exited: it is a zombie, or does not exist. One that a
// signal is ending counts as such, since it never stops any more, even if it dumps core for a long
// time before.
func (t *Tracee) ended(tid int) (bool, error) {
	s, err := t.dir.Stat(tid)
	if errors.Is(err, ErrGone) {
		return true, nil
	}
	return err == nil && (s.Ended() || s.Flags&procfs.FlagSignaled != 0), err
}

// tasks lists the threads of the process. They come and go: the list is true for no longer than it
// takes to read. complete says that as many threads as are in it were there afterwards; one that
// ends meanwhile can hide another one.
func (t *Tracee) tasks() (tids []int, complete bool, err error) {
	complete, err = t.dir.EachTask(func(tid int) error {
		tids = append(tids, tid)
		return nil
	})
	return tids, complete, err
}
