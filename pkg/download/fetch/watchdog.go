package fetch

import (
	"context"
	"fmt"
	"time"
)

// watchdog cancels a context when what is awaited does not come.
type watchdog struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// watch returns a context for one transfer and its watchdog, which sleeps.
func watch(parent context.Context) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, &watchdog{ctx: ctx, cancel: cancel}
}

// within wakes the dog: the context is cancelled in d unless within, rest or stop is called before.
func (w *watchdog) within(d time.Duration) {
	w.rest()
	w.timer = time.AfterFunc(d, func() { w.cancel(fmt.Errorf("%w: nothing arrived for %v", ErrStalled, d)) })
}

// rest lets the dog sleep.
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

// reason returns why the transfer ended with err: if the context did it, the context's cause.
func (w *watchdog) reason(err error) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return err
}
