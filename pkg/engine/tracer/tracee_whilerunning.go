package tracer

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// leastRun is how long threads run at least. One that is interrupted before it had a CPU has not
// run at all.
const leastRun = 100 * time.Microsecond

// WhileRunning lets all threads run while f runs, and then stops them again. It is for work that
// takes time and that no thread can disturb, such as writing memory that nobody knows of yet. f
// runs on the thread that owns the tracee.
//
// The threads stay traced. A signal that comes in the meantime is handed on when they stop again;
// so f should not take long. A thread with submitted calls ([Tracee.Submit]) has made them when
// WhileRunning returns. Threads may begin and end, and be elsewhere afterwards: [Tracee.Threads]
// returns others.
//
// The error is f's, unless the process cannot be stopped again. Then it is one of [Run]'s, and only
// those threads are left that are stopped. If the process is in a group stop, or a thread is on an
// excursion, no thread runs during f.
func (t *Tracee) WhileRunning(ctx context.Context, f func() error) error {
	return t.Do(func() error {
		if slices.ContainsFunc(t.threads, func(th *Thread) bool {
			return th.GroupStop || th.excursion != nil && !th.excursion.submitted || !th.stopped
		}) {
			return f()
		}
		for _, th := range t.leaving() {
			t.step("whilerunning")
			t.noteStopped()
			th.interrupted = false
			_ = t.resume(th, unix.PTRACE_CONT, 0) // that it was killed will be seen
		}
		began := time.Now()
		err := f()
		if rest := leastRun - time.Since(began); rest > 0 {
			ts := unix.NsecToTimespec(rest.Nanoseconds())
			_ = unix.Nanosleep(&ts, nil)
		}
		t.attached = time.Time{}
		if stopErr := t.stopAll(ctx); stopErr != nil {
			t.keepStopped()
			return stopErr
		}
		return err
	})
}

// keepStopped forgets the threads that are not stopped, when one did not stop in time.
func (t *Tracee) keepStopped() {
	for _, th := range t.threads {
		if !th.stopped && !th.gone && peek(th.TID).kind == stopInterrupt {
			back, err := t.isBack(th)
			th.stopped = back && err == nil && t.readState(th) == nil
		}
	}
	t.threads = slices.DeleteFunc(t.threads, func(th *Thread) bool { return !th.stopped })
}
