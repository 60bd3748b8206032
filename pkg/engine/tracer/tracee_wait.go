package tracer

import (
	"context"
	"time"
)

// reapOthersEvery is how many looks are between two looks at all other threads: with the longest
// pauses, 0.1 s.
const reapOthersEvery = 100

// reapOthers takes notice of the end of threads that nobody waits for at the moment.
func (t *Tracee) reapOthers() {
	for tid := range t.known {
		if tid != t.pid {
			reap(tid)
		}
	}
}

// wait waits until the thread is stopped or has ended. Its errors are the context's, or
// ErrNotStopping at the deadline, if there is one.
func (t *Tracee) wait(ctx context.Context, tid int, deadline time.Time) (stop, error) {
	for b := (backoff{realtime: t.w.realtime()}); ; b.pause() {
		late := b.slow() && !deadline.IsZero() && time.Now().After(deadline)
		s := peek(tid)
		if s.kind == running && (late || b.wantsState()) {
			if over, err := t.ended(tid); err == nil && over {
				// if that is not known, it is waited for the kernel does not tell the end of a
				// process's first thread before that of the others
				s.kind = ended
			}
		}
		if s.kind == ended && tid != t.pid {
			reap(tid) // or an exec of the process, which waits for that, never ends
		}
		if s.kind == running && b.n%reapOthersEvery == 0 {
			t.reapOthers() // it may be the one that executes
		}
		if s.kind != running { // looked at after the clock: what is late may be this process
			return s, nil
		}
		if err := ctx.Err(); err != nil {
			return stop{}, t.fail("waiting for a stop", tid, context.Cause(ctx))
		}
		if late {
			return stop{}, t.fail("waiting for a stop", tid, ErrNotStopping)
		}
	}
}
