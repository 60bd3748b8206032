package tracer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// attach stops all threads, on the tracer thread.
func (t *Tracee) attach(ctx context.Context) error {
	err := t.open(ctx)
	if err == nil && !t.phase.CompareAndSwap(phaseAttaching, phaseAttached) {
		err = ErrNotStopping
	}
	if err != nil {
		_ = t.release()
	}
	return err
}

func (t *Tracee) open(ctx context.Context) (err error) {
	if t.dir, err = procfs.Open(procfs.Root, t.pid); err != nil {
		return t.fail("opening its directory", 0, err)
	}
	return t.stopAll(ctx)
}

// stopAll stops all threads, and opens the address space if it is not open yet.
func (t *Tracee) stopAll(ctx context.Context) error {
	t.reaper = startReaper(t.pid, slices.Collect(maps.Keys(t.known))...)
	err := t.stopThreads(ctx)
	t.reaper.stop()
	if err != nil {
		return err
	}
	t.threads = slices.DeleteFunc(t.threads, func(th *Thread) bool { return th.gone })
	if len(t.threads) == 0 {
		return t.fail("stopping its threads", 0, ErrGone)
	}
	if t.space.of == nil || t.space.of.gone {
		t.space.close()
		th := t.threads[0]
		if t.space, err = t.openSpace(th); err != nil {
			return t.fail("opening its memory", th.TID, t.reason(th.TID, err))
		}
	}
	t.mem.f = t.space.mem
	return nil
}

// stopThreads seizes and interrupts every thread, and again those that appeared meanwhile. Only a
// running thread can make another one: when all that are known are stopped and the list is complete
// and shows no new one, there is none.
func (t *Tracee) stopThreads(ctx context.Context) error {
	clear(t.exited)
	op := "stopping its threads"
	for deadline := time.Now().
		Add(t.o.StopTimeout); ; op = "stopping its threads, which keep appearing" {
		tids, complete, err := t.tasks()
		if err != nil {
			return t.fail("listing its threads", 0, err)
		}
		grown, err := t.seizeNew(tids)
		switch {
		case err != nil || !grown && complete:
			return err
		case ctx.Err() != nil:
			return t.fail("stopping its threads", 0, context.Cause(ctx))
		case time.Now().After(deadline):
			return t.fail(op, 0, t.notStopping())
		}
		for _, th := range t.threads {
			if th.stopped || th.gone {
				continue
			}
			if err := t.waitStopped(ctx, th, deadline); err != nil {
				return err
			}
		}
		if t.allStopped() {
			return nil
		}
	}
}

// notStopping is ErrNotStopping with the time that the threads had. Without it nobody could tell a
// process that cannot be stopped from a limit that is too short.
func (t *Tracee) notStopping() error {
	return fmt.Errorf("%w within %s", ErrNotStopping, diag.Duration(t.o.StopTimeout))
}

// allStopped reports whether as many threads are stopped as the process has. Then no other one
// needs to be looked for. Where some are left alone, numbers tell nothing: one of them may end when
// another thread begins.
func (t *Tracee) allStopped() bool {
	n, err := t.dir.Tasks()
	return err == nil && !t.partial && n == len(t.threads) && !slices.ContainsFunc(t.threads,
		func(th *Thread) bool { return !th.stopped })
}

// seizeNew seizes the threads in tids that are not yet known, and then interrupts all that run. In
// this order, since a seize may wait, and threads that are seized still run. grown says that the
// list showed something new; also one that has ended meanwhile, which may have made another one
// that the list does not have, and be counted in its place. One that ended before the list was made
// (a first thread stays in it) makes none.
func (t *Tracee) seizeNew(tids []int) (grown bool, err error) {
	for _, tid := range tids {
		if t.known[tid] != nil {
			continue
		}
		aside, err := t.kernelSide(tid)
		switch {
		case err != nil:
			return false, t.fail("looking what kind of thread it is", tid, err)
		case aside:
			t.partial = true
		default:
			t.w.raisePriority()
			seized, err := t.seize(tid)
			if err != nil {
				return false, err
			}
			if !seized {
				grown, t.exited[tid] = grown || !t.exited[tid], true
			}
		}
	}
	if t.space.of == nil && len(t.threads) > 0 {
		// what fails is tried again, and judged, when all are stopped
		if t.space, err = t.openSpace(t.threads[0]); errors.Is(err, errDying) {
			return false, t.fail("attaching", t.threads[0].TID, err)
		}
	}
	for _, th := range t.threads {
		if th.interrupted || th.gone {
			continue
		}
		if grown = true; t.attached.IsZero() {
			t.attached = time.Now()
		}
		t.step("attach:interrupt")
		if th.interrupted = true; ptrace(unix.PTRACE_INTERRUPT, th.TID, 0) != nil {
			t.markExited(th)
		}
	}
	return grown, nil
}

// seize seizes one thread; false says that it has ended. A seized thread's number is not given to
// another one; so looking after it whether the process has such a thread tells whether it is the
// right one. A stranger is let go as soon as possible.
func (t *Tracee) seize(tid int) (bool, error) {
	options := uintptr(ptraceOptions)
	if t.o.SuspendSeccomp {
		options |= unix.PTRACE_O_SUSPEND_SECCOMP
	}
	t.step("attach:seize")
	var err error
	for range seizeTries {
		if err = ptraceSleeping(unix.PTRACE_SEIZE, tid, options); err == nil {
			break
		}
		if err = t.reason(tid, err); errors.Is(err, ErrGone) {
			return false, nil
		}
		if errors.Is(err, ErrTraced) {
			break
		}
		if errors.Is(err, ErrPermission) {
			time.Sleep(time.Millisecond)
		}
	}
	if err != nil {
		return false, t.fail("attaching", tid, err)
	}
	th := &Thread{TID: tid}
	t.known[tid], t.left = th, t.left+1
	switch has, err := t.dir.HasTask(tid); {
	case err != nil:
		return false, t.fail("attaching", tid, err)
	case !has:
		return false, t.fail("attaching while its threads change", tid, ErrNotStopping)
	}
	t.threads = append(t.threads, th)
	t.reaper.add(tid)
	return true, nil
}

// seizeTries is more than one because the kernel refuses what is not permitted as it does a process
// that is executing a program, which has for a moment a first thread that has ended, and one whose
// tracer lets it go before it is asked who that is.
const seizeTries = 5

// markExited notes that a thread has exited. Its number is free for another one.
func (t *Tracee) markExited(th *Thread) {
	th.gone, th.stopped = true, false
	if t.known[th.TID] == th {
		delete(t.known, th.TID)
	}
}

// waitStopped waits until an interrupted thread is stopped by its interrupt (or in its group stop).
// Signals that come first are handed on, with an interrupt that stops the thread again before it
// executes anything.
func (t *Tracee) waitStopped(ctx context.Context, th *Thread, deadline time.Time) error {
	for {
		t.step("attach:wait")
		s, err := t.wait(ctx, th.TID, deadline)
		switch {
		case errors.Is(err, ErrNotStopping):
			return t.fail("stopping its threads", th.TID, t.notStopping())
		case err != nil:
			return err
		}
		switch s.kind {
		case ended:
			t.markExited(th)
			if th.TID != t.pid {
				return nil
			}
			over, err := t.ended(t.pid)
			if err == nil && !over {
				err = ErrExec // another thread took its number: that is how exec works
			}
			return t.fail("stopping its threads", th.TID, err)
		case stopExec:
			th.stopped = true
			return t.fail("stopping its threads", th.TID, ErrExec)
		case stopInterrupt, stopGroup:
			back, err := t.isBack(th)
			switch {
			case err != nil:
				return t.fail("looking whether it is back", th.TID, err)
			case back:
			case time.Now().After(deadline):
				t.cancel(th)
				th.stopped = th.excursion == nil
				return t.fail("waiting until it is back", th.TID, t.notStopping())
			default:
				if t.continueSubmitted(th) != nil {
					t.markExited(th)
					return nil
				}
				continue
			}
			th.stopped, th.GroupStop, th.Since = true, s.kind == stopGroup, time.Now()
			return t.readState(th)
		}
		t.step("attach:handon")
		// A stop takes back an interrupt that came when the kernel was already on its way to it.
		_ = ptrace(unix.PTRACE_INTERRUPT, th.TID, 0)
		if err := ptrace(unix.PTRACE_CONT, th.TID, s.toHandOn()); err != nil {
			t.markExited(th)
			return nil
		}
	}
}

// readState reads a stopped thread's registers and looks whether it is of a kind that can be
// handled.
func (t *Tracee) readState(th *Thread) error {
	var err error
	if th.regs, err = readRegisters(th.TID); err != nil {
		return t.fail("reading the registers", th.TID, t.lost(th, err))
	}
	if th.regs.nowhere() {
		return t.leaveAlone(th)
	}
	if again := th.regs; !th.GroupStop && again.restartEINTR(th.TID) {
		t.step("attach:restart")
		if err := setRegisters(th.TID, &again); err != nil {
			return t.fail("restarting the system call", th.TID, t.lost(th, err))
		}
		th.regs = again
	}
	th.regs = th.regs.unrestarted(th.TID)
	return nil
}

// lost translates ESRCH on a thread that was stopped: it was killed.
func (t *Tracee) lost(th *Thread, err error) error {
	if errors.Is(err, unix.ESRCH) {
		th.gone, th.stopped = true, false
		return ErrGone
	}
	return err
}

// reason finds out what the kernel's answer to an attempt to open or trace a thread means.
func (t *Tracee) reason(tid int, err error) error {
	denied := errors.Is(err, os.ErrPermission) || errors.Is(err, procfs.ErrPermission)
	if !errors.Is(err, unix.ESRCH) && !denied {
		return err
	}
	status, statusErr := t.dir.Status(tid)
	over, endedErr := t.ended(tid)
	switch {
	case over, errors.Is(statusErr, ErrGone):
		return ErrGone
	case statusErr != nil || endedErr != nil:
		return errors.Join(err, statusErr, endedErr)
	case !status.Memory && (tid == 2 || status.Parent == 2):
		return ErrUnsupported // a kernel thread
	case status.Tracer == int(t.w.tid.Load()):
		return ErrExec // one that was seized has become this one
	case status.Tracer != 0:
		return &Error{PID: t.pid, TID: tid, Tracer: status.Tracer, Err: ErrTraced}
	case denied && status.Memory:
		return ErrPermission
	}
	// It was there before and is there now; in between the number was free, or it is about to end
	// or to execute a program.
	return fmt.Errorf("%w: %w, although it is there", ErrNotStopping, err)
}
