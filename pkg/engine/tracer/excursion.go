package tracer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// excursion is the time in which a thread runs something for the tracer, and what restores it after that.
type excursion struct {
	regs      Registers // its own
	ownMask   uint64    // its own
	xstate    []byte    // its own, to be restored by us: nil if what ran cannot have changed it
	sigframe  sigframe  // its own way, should we die
	area      frameArea // where the sigframe is
	entered   bool      // stands at the entry of a system call
	submitted bool      // was left to come back by itself
	first     Registers // before the first of its calls, if they are made in one go
	blocked   uint64    // signals blocked on the way
}

// sigframe is the way back, as bytes for the target's memory.
type sigframe struct {
	base    uint64 // where data goes
	data    []byte
	uc      uint64 // stack pointer with which rt_sigreturn finds the registers
	call    uint64 // stack pointer at which a function is entered
	value   uint64 // where a function's result will be
	slots   []int  // offsets in data of words that the thread writes
	scratch *scratch
}

// synchronous are signals that an instruction or a system call of the thread's own may raise. The kernel resets the
// handler of such a signal to the default when it comes while blocked, so on the way they are blocked only if they were.
const synchronous = 1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGFPE-1) |
	1<<(unix.SIGSEGV-1) | 1<<(unix.SIGSYS-1)

// prepare makes the sigframe and writes it into memory that is known to be unused. It leaves the thread's registers alone: up
// to here, nothing that the thread could notice has changed. Below the sigframe there will be at least room bytes of stack.
func (t *Tracee) prepare(th *Thread, room uint64, calls ...Call) error {
	return t.prepareWith(th, room, func(*excursion) {}, calls...)
}

// prepareWith is prepare with more data, which add puts below the sigframe. There is room for it besides.
func (t *Tracee) prepareWith(th *Thread, room uint64, add func(*excursion), calls ...Call) (err error) {
	busy := th.excursion
	defer func() {
		if err != nil {
			th.excursion = busy
			err = t.fail("preparing the way back", th.TID, t.lost(th, err))
		}
	}()
	switch {
	case th.excursion != nil:
		return ErrNotStopping // it is still busy with something else
	case !th.stopped:
		return ErrGone
	}
	if err := t.o.Gadgets.verify(t.mem); err != nil {
		if _, gone := readRegisters(th.TID); gone != nil {
			return gone
		}
		return err
	}
	if shadowStack(th.TID) {
		return fmt.Errorf("a shadow stack: %w", ErrUnsupported)
	}
	if t.dispatched(th.TID) {
		return ErrDispatched
	}
	if err := t.allowed(th, calls); err != nil {
		return err
	}
	if err := t.deliverOwn(th); err != nil {
		return err
	}
	t.step("excursion:read")
	ex := &excursion{regs: th.regs}
	if ex.ownMask, err = signalMask(th.TID); err != nil {
		return err
	}
	ex.blocked = ^uint64(synchronous) | ex.ownMask
	if ex.xstate, err = readXstate(th.TID, t.scratch.take(xsaveMost)); err != nil {
		return err
	}
	x, err := signalXstate(ex.xstate, t.scratch)
	if err != nil {
		return err
	}
	t.leaveRseq(th.TID, &ex.regs)
	if ex.area, err = t.frameArea(th, room+uint64(len(x))+frameMost+blockRoom); err != nil {
		return err
	}
	ex.sigframe = newSigframe(ex.regs.onFrame(th.TID), x, ex.ownMask, ex.area.End, t.o.Gadgets, t.scratch)
	add(ex)
	return t.writeSigframe(th, ex)
}

// deliverOwn lets a thread first have a signal that it raised itself just before it was stopped: on its way that would
// look like a fault of what it is sent to do. It then stands at a handler's first instruction.
func (t *Tracee) deliverOwn(th *Thread) error {
	queued, err := pendingSignals(th.TID, t.queued[:])
	if err != nil || th.GroupStop || len(queued) == 0 {
		return t.lost(th, err)
	}
	mask, err := signalMask(th.TID)
	if err != nil {
		return t.lost(th, err)
	}
	if !slices.ContainsFunc(queued, func(si siginfo) bool { return si.own() && mask>>(si.signo-1)&1 == 0 }) {
		return nil
	}
	t.step("excursion:deliver")
	if err := t.resume(th, unix.PTRACE_CONT, 0); err != nil { // to the signal: it comes before anything else
		return err
	}
	deadline := time.Now().Add(arriveWait)
	if _, err := t.wait(context.Background(), th.TID, deadline); err != nil {
		return err
	}
	if err := ptrace(unix.PTRACE_INTERRUPT, th.TID, 0); err != nil {
		return t.lost(th, err)
	}
	if err := t.waitStopped(context.Background(), th, deadline); err != nil {
		return err
	}
	if th.gone {
		return ErrGone
	}
	return nil
}

// own says that it is a signal that the thread raised by what it did.
func (si siginfo) own() bool {
	return si.code > 0 && si.signo > 0 && si.signo <= 64 && synchronous>>(si.signo-1)&1 != 0
}

// writeSigframe writes the sigframe.
func (t *Tracee) writeSigframe(th *Thread, ex *excursion) error {
	at, block := ex.pages(t.scratch)
	th.excursion = ex
	t.step("excursion:sigframe")
	if err := stackWrite(th.TID, at, block); err != nil {
		return fmt.Errorf("the first thread's stack cannot be written to: %w: %w", err, ErrStack)
	}
	return nil
}

// start sets the thread's registers to where it goes and blocks its signals. In this order: with the registers set and
// the old mask still there, the sigframe already leads back.
func (t *Tracee) start(th *Thread, to Registers) error {
	t.step("excursion:registers")
	if err := setRegisters(th.TID, &to); err != nil {
		return t.lost(th, err)
	}
	t.step("excursion:mask")
	return t.lost(th, setSignalMask(th.TID, th.excursion.blocked))
}

// resume lets a thread run.
func (t *Tracee) resume(th *Thread, how, signal int) error {
	t.step("resume")
	th.stopped, t.state = false, state{}
	return t.lost(th, ptrace(how, th.TID, uintptr(signal)))
}

// restore gives a thread all its registers back, from a stop of its excursion.
func (t *Tracee) restore(th *Thread) error {
	ex := th.excursion
	back := ex.regs
	if back.restarts() || ex.entered {
		if err := t.stopAtInterrupt(th); err != nil {
			return err
		}
	} else {
		back.leftSyscall()
	}
	t.step("restore:mask")
	err := setSignalMask(th.TID, ex.ownMask)
	if err == nil && ex.xstate != nil {
		t.step("restore:xstate")
		err = restoreXstate(th.TID, ex.xstate)
	}
	if err == nil {
		t.step("restore:registers")
		err = setRegisters(th.TID, &back)
	}
	if err != nil {
		return t.fail("restoring", th.TID, t.lost(th, err))
	}
	th.regs, th.excursion = back, nil
	_ = t.leaveArea(th, ex)
	return nil
}

// stopAtInterrupt takes a thread from a system call stop to an interrupt's stop. There, as at the stop before the excursion, the
// kernel looks whether a system call must be restarted; and the next system call stop is the entry of the next one.
// On the way it stands before its rt_sigreturn.
func (t *Tracee) stopAtInterrupt(th *Thread) error {
	back := th.excursion.regs.toReturn(t.o.Gadgets, th.excursion.sigframe)
	t.step("stop:registers")
	if err := setRegisters(th.TID, &back); err != nil {
		return t.fail("restoring", th.TID, t.lost(th, err))
	}
	t.step("stop:interrupt")
	if err := ptrace(unix.PTRACE_INTERRUPT, th.TID, 0); err != nil {
		return t.fail("restoring", th.TID, t.lost(th, err))
	}
	deadline := time.Now().Add(arriveWait)
	for signal := 0; ; {
		if err := t.resume(th, unix.PTRACE_CONT, signal); err != nil {
			return t.fail("restoring", th.TID, err)
		}
		s, err := t.wait(context.Background(), th.TID, deadline)
		if err != nil {
			return err
		}
		switch s.kind {
		case ended:
			th.gone = true
			return t.fail("restoring", th.TID, ErrGone)
		case stopInterrupt, stopGroup:
			th.stopped, th.excursion.entered = true, false
			return nil
		}
		signal = int(s.toHandOn())
		_ = ptrace(unix.PTRACE_INTERRUPT, th.TID, 0) // see waitStopped
	}
}
