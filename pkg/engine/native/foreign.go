package native

import (
	"bytes"
	"context"
	"errors"
	"time"
)

// foreignError is an ErrForeign: what was read where the function has a detour.
type foreignError struct {
	at   uint64
	have []byte
}

func (*foreignError) Error() string { return ErrForeign.Error() }
func (*foreignError) Unwrap() error { return ErrForeign }

// How often, and how long after each other, to look again at a detour that seems to be another
// tool's.
const (
	foreignLooks = 5
	foreignPause = time.Millisecond
)

// passed reports whether such a detour is that of an engine which applies and reverts live patches
// while the process is looked at. That what is lpbuild's in the process is now as it was says
// nothing: the engine may have been there in between. But another tool's detour stays, and an
// engine's is there only as long as the process has what it belongs to.
func (v *view) passed(ctx context.Context, st *state, err error) bool {
	f, ok := errors.AsType[*foreignError](err)
	for i := 0; ok && i < foreignLooks; i++ {
		have := make([]byte, len(f.have))
		if _, err := v.m.ReadAt(ctx, have, f.at); err != nil || !bytes.Equal(have, f.have) ||
			v.worked(ctx, st) {
			return true
		}
		time.Sleep(foreignPause)
	}
	return false
}
