package tracer

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// meanwhileLeast is for how long threads run at least. One that is interrupted before it had a CPU has not run at all.
const meanwhileLeast = 100 * time.Microsecond

// Meanwhile lets all threads run while f runs, and then stops them again: for work that takes time and that no thread can
// disturb. Memory that nobody knows of yet can be written meanwhile, for instance. f runs on the thread that owns the
// tracee.
//
// The threads stay traced. A signal that comes in the meantime is handed on when they stop again; so f should not take
// long. One that was sent home ([Tracee.SendHome]) is home behind it. Threads may begin and end, and stand elsewhere
// afterwards: [Tracee.Threads] returns others.
//
// f's error is returned, unless the process cannot be stopped again: that error is one of [Run]'s, and only those threads
// are left that stand still. If the process is in a group stop, or a thread is on its way, all stand still also for f.
func (t *Tracee) Meanwhile(ctx context.Context, f func() error) error {
	return t.Do(func() error {
		if slices.ContainsFunc(t.threads, func(th *Thread) bool {
			return th.GroupStop || th.excursion != nil && !th.excursion.submitted || !th.stopped
		}) {
			return f()
		}
		for _, th := range t.leaving() {
			t.step("meanwhile")
			t.stood()
			th.interrupted = false
			_ = t.resume(th, unix.PTRACE_CONT, 0) // that it was killed will be seen
		}
		began := time.Now()
		err := f()
		if rest := meanwhileLeast - time.Since(began); rest > 0 {
			ts := unix.NsecToTimespec(rest.Nanoseconds())
			_ = unix.Nanosleep(&ts, nil)
		}
		t.attached = time.Time{}
		if stopErr := t.stand(ctx); stopErr != nil {
			t.keepStanding()
			return stopErr
		}
		return err
	})
}

// keepStanding forgets the threads that do not stand still, when one did not stop in time.
func (t *Tracee) keepStanding() {
	for _, th := range t.threads {
		if !th.stopped && !th.gone && peek(th.TID).kind == stopInterrupt {
			home, err := t.isHome(th)
			th.stopped = home && err == nil && t.admit(th) == nil
		}
	}
	t.threads = slices.DeleteFunc(t.threads, func(th *Thread) bool { return !th.stopped })
}
