package native

import (
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// A process that has the memory of another one without being a thread of it (CLONE_VM) would go on
// running while that is changed, and nobody would look where it stands. So there must be none when
// the change is planned, and none when all threads are stopped: then nobody is left who could make
// one.

var sharers process.Sharers

// shared is what is known about other processes with the same memory.
type shared struct {
	err  error
	when process.Moment
}

// alone returns ErrShared if another process has the memory, as it was when that was asked first,
// or why that is not known.
func (v *view) alone() error {
	if v.shared == nil {
		v.shared = &shared{}
		var other int
		if other, v.shared.when, v.shared.err = sharers.With(v.p); other != 0 {
			v.shared.err = &SharedError{other}
		}
	}
	return v.shared.err
}

// stillAlone asks again just before the process is stopped, if many processes were made since: so
// many less are to be asked about while it is stopped.
func (pl *Plan) stillAlone() error {
	other, when, err := sharers.Renew(pl.p, pl.since)
	if other != 0 {
		return &SharedError{other}
	}
	if err != nil {
		return err
	}
	pl.since = when
	return nil
}
