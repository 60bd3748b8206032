package tracer

import (
	"time"

	"golang.org/x/sys/unix"
)

// Submit prepares th to carry out system calls as [Tracee.Batch] does, and to return by itself after the last one: it does
// both when it is let go next, by [Tracee.WhileRunning] or [Tracee.Detach], without another stop. Stopping a thread and
// letting it go again takes longer than most calls.
//
// That is safe because a thread whose tracer was killed takes the very same way: the sigframe restores all its registers
// and its signal mask. But nobody sees the results of the calls, so that the caller must look at their effects, and the
// last one should not return an address.
//
// Until WhileRunning has stopped the thread again, or Detach has let it go, nothing may be asked of it. WhileRunning does
// not stop it on its excursion: it returns when the thread is back. The error is ErrNoBatch where Batch has it, for a thread
// that is in a system call or a group stop, or whose signal mask would not tell whether it is back, and while another thread
// may use the stack below which the sigframe lies: it would run at the same time. Then nothing has happened.
func (t *Tracee) Submit(th *Thread, data []byte, calls func(at uint64) []BatchCall) error {
	return t.Do(func() error {
		if _, _, busy := th.regs.inSyscall(); busy || th.GroupStop || !t.o.Gadgets.canBatch() {
			return t.fail("making system calls", th.TID, ErrNoBatch)
		}
		c, err := t.prepareBatch(th, data, calls, wipingPlaces)
		if err != nil {
			return err
		}
		// A signal that it had raised itself may have come first, and it stands elsewhere now.
		if _, _, busy := th.regs.inSyscall(); busy || th.GroupStop || th.excursion.ownMask == th.excursion.visibleMask() || th.excursion.area.shared {
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

// visibleMask is the signal mask that the kernel shows during the excursion.
func (ex *excursion) visibleMask() uint64 {
	return ex.blocked &^ unblockable
}

// unblockable are the signals that no mask of the kernel's has.
const unblockable = 1<<(unix.SIGKILL-1) | 1<<(unix.SIGSTOP-1)

// isBack reports whether a stopped thread's excursion is over. Its own mask is the last thing that the sigframe brings
// back, together with the registers: the kernel does not stop it in between.
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

// IsSubmitted reports whether a stopped thread is making system calls for a tracer that has let it go: one that was killed,
// or one whose [Tracee.Submit] it has had no CPU for since. What it is still going to do would come on top of everything that
// is done now, so let it go, and stop the process again later.
//
// Such a thread is at one of the gadgets with all signals blocked that the kernel does not raise for an instruction, even those
// that libc keeps for itself and never blocks when a program asks for it.
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

// continueTime is how long a thread that was stopped on its excursion runs until it is interrupted again.
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

// NoteStopped notes that a thread has been on its excursion until now: in a WhileRunning or an AfterDetach, after
// [Tracee.Submit].
func (t *Tracee) NoteStopped() { t.noteStopped() }

// AfterDetach has f run on the thread that owns the tracee when all threads have been let go, and before the target's
// memory is closed.
func (t *Tracee) AfterDetach(f func()) { t.after = f }
