package tracer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// BatchCall is a system call of a [Tracee.Batch].
type BatchCall struct {
	Call
	// Arg, if it is not 0, is the number of the argument (from 1 on) that is the result of call
	// From, an earlier one. If that failed, the argument is its negative error number, which as a
	// file descriptor makes this one fail too.
	Arg, From int
}

// ErrNoBatch means that calls cannot be made in one go in this thread, at this moment. Use
// [Tracee.Sequence].
var ErrNoBatch = errors.New("system calls cannot be made in one go")

// Batch makes the target's thread th carry out all the system calls, without a stop between them:
// it takes as long as one. All are made, whatever the ones before returned; so none may do harm if
// one before it failed. calls gets the address of data, which lies in the target's memory as with
// [Tracee.Sequence].
//
// If this process dies meanwhile, the thread makes all the calls, and goes on with what it did
// before. The error is ErrNoBatch if the target's code lacks Gadgets.Keep, if th was interrupted in
// a system call whose remaining time would be forgotten, or if there is no signal that could tell
// the end (see [Tracee.Call]); then nothing has happened. If ctx ends first, its error is returned:
// a thread that has not begun by then makes no call at all, another one makes them all, and comes
// back by itself. A thread with a seccomp filter must not be used unless all calls are known to be
// allowed.
func (t *Tracee) Batch(ctx context.Context, th *Thread, data []byte,
	calls func(at uint64) []BatchCall) ([]Result, error) {
	var results []Result
	err := t.Do(func() error {
		if !t.o.Gadgets.canBatch() || th.regs.forgetsTime() {
			return t.fail("making system calls", th.TID, ErrNoBatch)
		}
		c, err := t.prepareBatch(th, data, calls, chainPlaces)
		if err != nil {
			return err
		}
		results, err = t.batch(ctx, th, c)
		return t.fail(fmt.Sprintf("%d system calls", len(c.results)), th.TID, err)
	})
	return results, err
}

// prepareBatch is prepare with a chain of calls, and the data that their pointers lead to, below
// the sigframe. places returns where the results go.
func (t *Tracee) prepareBatch(th *Thread, data []byte, calls func(at uint64) []BatchCall,
	places func([]BatchCall) [][]place) (c chain, err error) {
	err = t.prepareWith(th, uint64(len(data))+batchRoom, func(ex *excursion) {
		ex.sigframe.prepend(data)
		list := calls(ex.sigframe.base)
		c = ex.sigframe.prependChain(list, places(list), ex.regs, ex.blocked, t.o.Gadgets)
	})
	return c, err
}

// chain is what makes several system calls one after the other, without a stop between them. Each
// call returns into the Keep gadget, which stores its result in one place after the other, and then
// into the restorer, with a sigframe that has the registers of the next call.
type chain struct {
	first   Registers // of the first call
	results []int     // where in the sigframe's data the results will be
}

// batchRoom is stack for more calls than anybody makes at once.
const batchRoom = 16 << 10

// batch is Batch after the preparations.
func (t *Tracee) batch(ctx context.Context, th *Thread, c chain) ([]Result, error) {
	ex := th.excursion
	ex.first = c.first
	if err := t.start(th, c.first); err != nil {
		return nil, err
	}
	completion := t.completionSignal(th)
	if completion == 0 {
		return nil, errors.Join(ErrNoBatch, t.restore(th))
	}
	if err := t.toReturn(ctx, th, unix.PTRACE_CONT, completion); err != nil {
		t.cancelSubmitted(th)
		if th.stopped && th.excursion != nil && !th.excursion.submitted {
			_ = t.restore(th)
		}
		return nil, err
	}
	b := make([]byte, len(c.results)*8)
	if err := stackRead(th.TID, ex.sigframe.base, b); err != nil {
		return nil, t.lost(th, err)
	}
	var results []Result
	for _, off := range c.results {
		r := Result{Value: binary.NativeEndian.Uint64(b[off:])}
		if v := int64(r.Value); v < 0 && v >= -4095 {
			r = Result{Errno: unix.Errno(-v)}
		}
		results = append(results, r)
	}
	return results, t.lost(th, t.leaveArea(th, ex))
}

// cancelSubmitted stops a thread that was left to come back by itself, and restores it at once if
// it has not begun.
func (t *Tracee) cancelSubmitted(th *Thread) {
	if th.excursion != nil && th.excursion.submitted && t.interrupt(th) == nil && th.stopped {
		t.cancel(th)
	}
}

// cancel restores a stopped thread that has not begun its first call: a thread of a frozen process
// does not run at all, and shall not make the calls when it does.
func (t *Tracee) cancel(th *Thread) {
	r, err := readRegisters(th.TID)
	if err != nil || r.pc() != th.excursion.first.pc() || r.sp() != th.excursion.first.sp() {
		return
	}
	th.excursion.submitted = false
	_ = t.restore(th)
}

// Submit prepares th to carry out system calls as [Tracee.Batch] does, and to return by itself
// after the last one: it does both when it is let go next, by [Tracee.WhileRunning] or
// [Tracee.Detach], without another stop. Stopping a thread and letting it go again takes longer
// than most calls.
//
// That is safe because a thread whose tracer was killed takes the very same way: the sigframe
// restores all its registers and its signal mask. But nobody sees the results of the calls, so that
// the caller must look at their effects, and the last one should not return an address.
//
// Until WhileRunning has stopped the thread again, or Detach has let it go, nothing may be asked of
// it. WhileRunning does not stop it on its excursion: it returns when the thread is back. The error
// is ErrNoBatch where Batch has it, for a thread that is in a system call or a group stop, or whose
// signal mask would not tell whether it is back, and while another thread may use the stack below
// which the sigframe lies: it would run at the same time. Then nothing has happened.
func (t *Tracee) Submit(th *Thread, data []byte, calls func(at uint64) []BatchCall) error {
	return t.Do(func() error {
		if th.InSyscall() || th.GroupStop || !t.o.Gadgets.canBatch() {
			return t.fail("making system calls", th.TID, ErrNoBatch)
		}
		c, err := t.prepareBatch(th, data, calls, wipingPlaces)
		if err != nil {
			return err
		}
		// A signal that it had raised itself may have come first, and it stands elsewhere now.
		if th.InSyscall() || th.GroupStop || th.excursion.area.shared ||
			th.excursion.ownMask == th.excursion.visibleMask() {
			ex := th.excursion
			th.excursion = nil
			if err := t.leaveArea(th, ex); err != nil {
				return t.fail("restoring", th.TID, t.lost(th, err))
			}
			return t.fail("making system calls", th.TID, ErrNoBatch)
		}
		th.excursion.first = c.first
		if err := t.start(th, c.first); err != nil {
			return t.fail("making system calls", th.TID, err)
		}
		th.excursion.submitted = true
		return nil
	})
}

// isBack reports whether a stopped thread's excursion is over. Its own mask is the last thing that
// the sigframe brings back, together with the registers: the kernel does not stop it in between.
func (t *Tracee) isBack(th *Thread) (bool, error) {
	if th.excursion == nil {
		return true, nil
	}
	mask, err := signalMask(th.TID)
	if err != nil {
		return false, t.lost(th, err)
	}
	if mask == th.excursion.visibleMask() {
		return false, nil
	}
	th.excursion = nil
	return true, nil
}

// IsSubmitted reports whether a stopped thread is making system calls for a tracer that has let it
// go: one that was killed, or one whose [Tracee.Submit] it has had no CPU for since. What it is
// still going to do would come on top of everything that is done now, so let it go, and stop the
// process again later.
//
// Such a thread is at one of the gadgets with all signals blocked that the kernel does not raise
// for an instruction, even those that libc keeps for itself and never blocks when a program asks
// for it.
func (t *Tracee) IsSubmitted(th *Thread) (bool, error) {
	if th.excursion != nil || !t.o.Gadgets.at(th.regs.pc()) {
		return false, nil
	}
	var mask uint64
	err := t.Do(func() (err error) {
		mask, err = signalMask(th.TID)
		return t.fail("reading its signal mask", th.TID, t.lost(th, err))
	})
	return err == nil && mask|synchronous|unblockable == ^uint64(0), err
}

// continueTime is how long a thread that was stopped on its excursion runs until it is interrupted
// again.
const continueTime = 50 * time.Microsecond

// continueSubmitted lets a thread that was stopped on its excursion go on, and interrupts it again.
func (t *Tracee) continueSubmitted(th *Thread) error {
	t.step("submitted:continue")
	if err := ptrace(unix.PTRACE_CONT, th.TID, 0); err != nil {
		return err
	}
	ts := unix.NsecToTimespec(continueTime.Nanoseconds())
	_ = unix.Nanosleep(&ts, nil)
	t.step("submitted:interrupt")
	return ptrace(unix.PTRACE_INTERRUPT, th.TID, 0)
}

// NoteStopped notes that a thread has been on its excursion until now: in a WhileRunning or an
// AfterDetach, after [Tracee.Submit].
func (t *Tracee) NoteStopped() { t.noteStopped() }

// AfterDetach has f run on the thread that owns the tracee when all threads have been let go, and
// before the target's memory is closed.
func (t *Tracee) AfterDetach(f func()) { t.after = f }
