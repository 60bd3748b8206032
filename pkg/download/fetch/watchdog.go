package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// watchdog cancels a context when an awaited event does not occur in time.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// watch returns a context for one transfer and its watchdog, which is inactive.
func watch(parent context.Context) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, &watchdog{ctx: ctx, cancel: cancel}
}

// within starts the timer: the context is cancelled in d unless within, rest or stop is called
// first.
func (w *watchdog) within(d time.Duration) {
	w.rest()
	w.timer = time.AfterFunc(d, func() {
		w.cancel(fmt.Errorf("%w: nothing arrived for %s", ErrStalled, diag.Duration(d)))
	})
}

// rest stops the timer.
func (w *watchdog) rest() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// stop ends the transfer.
func (w *watchdog) stop() {
	w.rest()
	w.cancel(context.Canceled)
}

// reason returns why the transfer ended with err: the context's cause if the context ended it.
func (w *watchdog) reason(err error) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return err
}
