package tracer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// journey is what a thread needs to come back from wherever it was sent.
type journey struct {
	regs     Registers // its own
	mask     uint64    // its own
	xstate   []byte    // its own, to be restored by us: nil if what ran cannot have changed it
	frame    frame     // its own way, should we die
	area     frameArea // where the frame is
	entered  bool      // stands at the entry of a system call
	onItsOwn bool      // was left to come back by itself
	first    Registers // before the first of its calls, if they are made in one go
	block    uint64    // signals blocked on the way
}

// frame is the way back, as bytes for the target's memory.
type frame struct {
	base  uint64 // where data goes
	data  []byte
	uc    uint64 // stack pointer with which rt_sigreturn finds the registers
	call  uint64 // stack pointer at which a function is entered
	value uint64 // where a function's result will be
	slots []int  // offsets in data of words that the thread writes
	room  *scratch
}

// synchronous are signals that an instruction or a system call of the thread's own may raise. The kernel resets the
// handler of such a signal to the default when it comes while blocked, so on the way they are blocked only if they were.
const synchronous = 1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGBUS-1) | 1<<(unix.SIGFPE-1) |
	1<<(unix.SIGSEGV-1) | 1<<(unix.SIGSYS-1)

// depart prepares the way back and puts it into memory that is known to be unused. It leaves the thread's registers alone: up
// to here, nothing that the thread could notice has changed. Below the frame there will be at least room bytes of stack.
func (t *Tracee) depart(th *Thread, room uint64, calls ...Call) error {
	return t.departWith(th, room, func(*journey) {}, calls...)
}

// departWith is depart with more in the frame, that add puts before it. There is room for it besides.
func (t *Tracee) departWith(th *Thread, room uint64, add func(*journey), calls ...Call) (err error) {
	busy := th.away
	defer func() {
		if err != nil {
			th.away = busy
			err = t.fail("preparing the way back", th.TID, t.lost(th, err))
		}
	}()
	switch {
	case th.away != nil:
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
	t.step("journey:read")
	j := &journey{regs: th.regs}
	if j.mask, err = signalMask(th.TID); err != nil {
		return err
	}
	j.block = ^uint64(synchronous) | j.mask
	if j.xstate, err = readXstate(th.TID, t.scratch.take(xsaveMost)); err != nil {
		return err
	}
	x, err := signalXstate(j.xstate, t.scratch)
	if err != nil {
		return err
	}
	t.leaveRseq(th.TID, &j.regs)
	if j.area, err = t.frameArea(th, room+uint64(len(x))+frameMost+blockRoom); err != nil {
		return err
	}
	j.frame = newFrame(j.regs.onFrame(th.TID), x, j.mask, j.area.End, t.o.Gadgets, t.scratch)
	add(j)
	return t.layFrame(th, j)
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
	t.step("journey:deliver")
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
	if err := t.settle(context.Background(), th, deadline); err != nil {
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

// layFrame writes the frame.
func (t *Tracee) layFrame(th *Thread, j *journey) error {
	at, block := j.pages(t.scratch)
	th.away = j
	t.step("journey:frame")
	if err := stackWrite(th.TID, at, block); err != nil {
		return fmt.Errorf("the first thread's stack cannot be written to: %w: %w", err, ErrStack)
	}
	return nil
}

// send sets the thread's registers to where it goes and blocks its signals. In this order: with the registers set and
// the old mask still there, the frame already leads back.
func (t *Tracee) send(th *Thread, to Registers) error {
	t.step("journey:registers")
	if err := setRegisters(th.TID, &to); err != nil {
		return t.lost(th, err)
	}
	t.step("journey:mask")
	return t.lost(th, setSignalMask(th.TID, th.away.block))
}

// resume lets a thread run.
func (t *Tracee) resume(th *Thread, how, signal int) error {
	t.step("resume")
	th.stopped, t.state = false, state{}
	return t.lost(th, ptrace(how, th.TID, uintptr(signal)))
}

// comeBack gives a thread all its registers back, from a stop of its journey.
func (t *Tracee) comeBack(th *Thread) error {
	j := th.away
	back := j.regs
	if back.restarts() || j.entered {
		if err := t.park(th); err != nil {
			return err
		}
	} else {
		back.leftSyscall()
	}
	t.step("back:mask")
	err := setSignalMask(th.TID, j.mask)
	if err == nil && j.xstate != nil {
		t.step("back:xstate")
		err = restoreXstate(th.TID, j.xstate)
	}
	if err == nil {
		t.step("back:registers")
		err = setRegisters(th.TID, &back)
	}
	if err != nil {
		return t.fail("restoring", th.TID, t.lost(th, err))
	}
	th.regs, th.away = back, nil
	_ = t.leaveArea(th, j)
	return nil
}

// park takes a thread from a system call stop to an interrupt's stop. There, as at the stop from which it departed, the
// kernel looks whether a system call must be restarted; and the next system call stop is the entry of the next one.
// On the way it stands before its rt_sigreturn.
func (t *Tracee) park(th *Thread) error {
	home := th.away.regs.toReturn(t.o.Gadgets, th.away.frame)
	t.step("park:registers")
	if err := setRegisters(th.TID, &home); err != nil {
		return t.fail("restoring", th.TID, t.lost(th, err))
	}
	t.step("park:interrupt")
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
			th.stopped, th.away.entered = true, false
			return nil
		}
		signal = int(s.toHandOn())
		_ = ptrace(unix.PTRACE_INTERRUPT, th.TID, 0) // see settle
	}
}
