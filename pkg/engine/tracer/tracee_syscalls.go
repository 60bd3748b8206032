package tracer

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// Call is one system call to be made by the target.
type Call struct {
	Nr   uint64 // its number, on the target's architecture
	Args [6]uint64
}

// Result is what a system call returned.
type Result struct {
	Value uint64     // 0 if Errno is set
	Errno unix.Errno // 0: success
	// Denied says that a seccomp filter caught the call with SIGSYS (SECCOMP_RET_TRAP); the signal
	// was not delivered.
	Denied bool
}

// Err returns Errno as an error, nil for success.
func (r Result) Err() error {
	if r.Errno == 0 {
		return nil
	}
	return r.Errno
}

// Syscalls makes the target's thread th carry out system calls, in order, and returns their
// results. It stops after the first one that fails, so that there may be fewer results than calls;
// that is no error of Syscalls itself. The thread is back where it was when Syscalls returns.
//
// If this process dies meanwhile, the thread finishes the call it is in, and goes on with what it
// did before. What calls already did (a mapping, say) remains.
//
// A call that blocks ends with EINTR when ctx does, and ctx's error is returned. If it cannot be
// interrupted, the error is ErrNotStopping; Detach then lets the thread go where it is, and it
// comes back by itself. Calls with a timeout (nanosleep, poll, futex) make a similar one in which
// th was interrupted return EINTR; leave them. Calls for which the thread's seccomp filter kills
// are ErrSeccomp, and none is made then.
func (t *Tracee) Syscalls(ctx context.Context, th *Thread, calls ...Call) ([]Result, error) {
	var results []Result
	err := t.Do(func() error {
		if err := t.prepare(th, 0, calls...); err != nil {
			return err
		}
		th.excursion.xstate = nil // no system call changes it
		var err error
		for _, c := range calls {
			var r Result
			if r, err = t.syscall(ctx, th, c); err != nil {
				err = t.fail(callName(c.Nr), th.TID, err)
				break
			}
			if results = append(results, r); r.Errno != 0 {
				break
			}
		}
		if !th.stopped || th.excursion == nil {
			return err
		}
		if back := t.restore(th); err == nil {
			err = back
		}
		return err
	})
	return results, err
}

// syscall runs one call, from any stop of the excursion to the stop at the call's end.
func (t *Tracee) syscall(ctx context.Context, th *Thread, c Call) (Result, error) {
	if err := t.start(th, th.excursion.regs.toCall(c, t.o.Gadgets,
		th.excursion.sigframe)); err != nil {
		return Result{}, err
	}
	var regs Registers
	for again := true; again; again = regs.restarts() { // by a SIGSTOP
		for range 2 { // entry and end
			if err := t.toSyscallStop(ctx, th); err != nil {
				return Result{}, err
			}
		}
		t.step("syscall:end")
		var err error
		if regs, err = readRegisters(th.TID); err != nil {
			return Result{}, t.lost(th, err)
		}
	}
	if regs.takenBack(c) && t.trapped(th) {
		return Result{Errno: unix.ENOSYS, Denied: true}, nil
	}
	return regs.result(), context.Cause(ctx)
}

// toSyscallStop lets a thread run to the next entry or end of a system call. With all others
// blocked, the only signals that can come between are SIGSTOP, which goes on to make its group
// stop, and those the thread raised itself.
func (t *Tracee) toSyscallStop(ctx context.Context, th *Thread) error {
	var deadline time.Time
	var broken error // why the call is being interrupted
	for signal := 0; ; {
		if err := t.resume(th, unix.PTRACE_SYSCALL, signal); err != nil {
			return err
		}
		s, err := t.wait(ctx, th.TID, deadline)
		if err != nil && broken == nil {
			broken, ctx, deadline = err, context.Background(), time.Now().Add(stuckWait)
			_ = ptrace(unix.PTRACE_INTERRUPT, th.TID, 0)
			s, err = t.wait(ctx, th.TID, deadline)
		}
		if err != nil {
			return t.fail("interrupting", th.TID, ErrNotStopping)
		}
		signal = int(s.toHandOn())
		switch s.kind {
		case ended:
			th.gone, th.excursion = true, nil
			return ErrGone
		case stopSyscall:
			th.stopped, th.excursion.entered = true, !th.excursion.entered
			return broken
		case stopExec:
			th.stopped, th.excursion = true, nil
			return ErrExec
		case stopSignaled:
			th.stopped = true
			if fault := t.faultOf(th.TID, s.signal); fault != nil {
				return fault
			}
		case stopInterrupt, stopGroup:
			th.stopped = true
			if broken != nil {
				return broken
			}
		}
	}
}

// faultOf reports whether the signal that a thread is about to get comes from what it did itself:
// then it is suppressed by the next resume, and the thread restored.
func (t *Tracee) faultOf(tid, signal int) error {
	si, err := stopSignal(tid)
	if err != nil || !si.own() {
		return nil
	}
	return &Error{Op: "running", PID: t.pid, TID: tid, Signal: signal, Err: ErrFault}
}

// trapped reports whether a seccomp filter answered a system call with SIGSYS, and if so takes the
// thread to that signal's stop, from which it goes on without it. At the call's end the signal is
// only queued.
func (t *Tracee) trapped(th *Thread) bool {
	queued, err := pendingSignals(th.TID, t.queued[:])
	if err != nil {
		return false
	}
	for _, si := range queued {
		if si.signo == int32(unix.SIGSYS) && si.code > 0 {
			return t.resume(th, unix.PTRACE_SYSCALL, 0) == nil && t.atSignal(th)
		}
	}
	return false
}

// atSignal waits for the stop of a signal that is certain to come.
func (t *Tracee) atSignal(th *Thread) bool {
	s, err := t.wait(context.Background(), th.TID, time.Now().Add(arriveWait))
	th.stopped = err == nil && s.kind != ended
	return th.stopped && s.kind == stopSignaled && s.signal == int(unix.SIGSYS)
}

// Sequence makes the target's thread th carry out system calls as [Tracee.Syscalls] does, but each
// may depend on the results of those before: next is asked for one after the other, with all
// results up to then, until it returns false. A call that failed is only another result; what to do
// about it (to unmap what was mapped, say) is next's decision.
//
// data lies in the target's memory meanwhile, for calls that take pointers; at is its address, a
// multiple of 16. There should not be much of it. If this process dies, it stays there, in memory
// that nothing uses.
//
// next runs on the thread that owns the tracee: the rules of [Tracee.Do] apply, and other methods
// that send th somewhere must not be called from it. Errors are those of Syscalls.
func (t *Tracee) Sequence(ctx context.Context, th *Thread, data []byte,
	next func(at uint64, done []Result) (Call, bool)) error {
	return t.Do(func() error {
		if err := t.prepareWith(th, uint64(len(data))+16, func(ex *excursion) {
			ex.sigframe.prepend(data)
		}); err != nil {
			return err
		}
		th.excursion.xstate = nil // no system call changes it
		var err error
		var results []Result
		for at := th.excursion.sigframe.base; err == nil; {
			c, more := next(at, results)
			if !more {
				break
			}
			var r Result
			if r, err = t.syscall(ctx, th, c); err != nil {
				err = t.fail(callName(c.Nr), th.TID, err)
				break
			}
			results = append(results, r)
		}
		if !th.stopped || th.excursion == nil {
			return err
		}
		if back := t.restore(th); err == nil {
			err = back
		}
		return err
	})
}
