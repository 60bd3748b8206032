package tracer

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// How long to wait for a thread that was interrupted: one that may be stuck in a call, and one that
// has nothing to do but to stop, as soon as it gets a CPU.
const (
	stuckWait  = 100 * time.Millisecond
	arriveWait = 2 * time.Second
)

// Detach puts back what is not yet put back and lets all threads go. A group stop stays one. That
// threads or the whole process went away meanwhile is not an error. Calling it again does nothing.
func (t *Tracee) Detach() error {
	if t.detached {
		return nil
	}
	var err error
	t.w.do(func() { err = t.release() })
	if !t.w.here() { // otherwise Run does that
		t.w.rest(t.left > 0)
	}
	return err
}

// release is Detach on the tracer thread; also the way out of an attach that failed half-way.
func (t *Tracee) release() error {
	var errs []error
	for _, th := range t.leaving() {
		if err := t.detachThread(th); err != nil && !errors.Is(err, ErrGone) {
			errs = append(errs, err)
		}
	}
	t.w.restorePriority()
	if t.after != nil {
		t.after()
	}
	t.space.close()
	if t.dir != nil {
		t.dir.Close()
	}
	t.detached = true
	if t.scratch != nil {
		t.scratch.done()
		t.scratch = nil
	}
	return errors.Join(errs...)
}

// leaving returns the threads in the order in which they are let go. Those that are stopped go
// first: they shall not wait for those that are stuck. Of them, those in a system call that goes on
// sleeping are first, since they do not take the CPU from this thread while it lets the others go.
func (t *Tracee) leaving() []*Thread {
	var asleep, awake, stuck []*Thread
	for _, th := range t.known {
		switch {
		case th.gone:
		case !th.stopped:
			stuck = append(stuck, th)
		case th.excursion == nil && th.regs.restarts():
			asleep = append(asleep, th)
		default:
			awake = append(awake, th)
		}
	}
	return slices.Concat(asleep, awake, stuck)
}

// detachThread detaches one thread. One that was never seen to stop has nothing to restore, one
// that is stuck in a call finds its way back by itself: both are left to the end of the tracer
// thread, at which the kernel lets go of them.
func (t *Tracee) detachThread(th *Thread) error {
	if !th.stopped {
		if th.excursion == nil {
			return nil
		}
		if err := t.interrupt(th); err != nil || th.gone {
			return err
		}
		if th.excursion.submitted {
			t.cancel(th) // nobody expects any more what it was to do
		}
	}
	if th.excursion != nil && !th.excursion.submitted {
		if err := t.restore(th); err != nil {
			return err
		}
	}
	t.step("detach")
	t.noteStopped() // not after it: the thread may have taken this one's CPU by then
	if err := ptrace(unix.PTRACE_DETACH, th.TID, 0); err != nil {
		return t.fail("detaching", th.TID, t.lost(th, err))
	}
	th.gone, t.left = true, t.left-1 // for us
	return nil
}

// noteStopped notes how long the process has been stopped.
func (t *Tracee) noteStopped() { t.stopTime = max(t.stopTime, time.Since(t.attached)) }

// interrupt stops a thread that is running on its excursion.
func (t *Tracee) interrupt(th *Thread) error {
	if err := ptrace(unix.PTRACE_INTERRUPT, th.TID, 0); err != nil {
		return t.fail("interrupting", th.TID, t.lost(th, err))
	}
	deadline := time.Now().Add(stuckWait)
	for {
		s, err := t.wait(context.Background(), th.TID, deadline)
		switch {
		case err != nil:
			return err
		case s.kind == ended:
			th.gone = true
			return nil
		case s.kind != stopSignaled:
			th.stopped = true
			return nil
		}
		_ = ptrace(unix.PTRACE_INTERRUPT, th.TID, 0) // see waitStopped
		if err := ptrace(unix.PTRACE_CONT, th.TID, uintptr(s.signal)); err != nil {
			return t.fail("interrupting", th.TID, t.lost(th, err))
		}
	}
}
