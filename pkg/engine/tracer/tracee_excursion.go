package tracer

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// synchronous are signals that an instruction or a system call of the thread's own may raise. The
// kernel resets the handler of such a signal to the default when it comes while blocked, so on the
// way they are blocked only if they were.
const synchronous = 1<<(unix.SIGILL-1) | 1<<(unix.SIGTRAP-1) | 1<<(unix.SIGBUS-1) | 1<<
	(unix.SIGFPE-1) |
	1<<(unix.SIGSEGV-1) | 1<<(unix.SIGSYS-1)

// prepare makes the sigframe and writes it into memory that is known to be unused. It leaves the
// thread's registers alone: up to here, nothing that the thread could notice has changed. Below the
// sigframe there will be at least room bytes of stack.
func (t *Tracee) prepare(th *Thread, room uint64, calls ...Call) error {
	return t.prepareWith(th, room, func(*excursion) {}, calls...)
}

// prepareWith is prepare with more data, which add puts below the sigframe. There is room for it
// besides.
func (t *Tracee) prepareWith(th *Thread, room uint64, add func(*excursion),
	calls ...Call) (err error) {
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
	ex.sigframe = newSigframe(ex.regs.onFrame(th.TID), x, ex.ownMask, ex.area.End, t.o.Gadgets,
		t.scratch)
	add(ex)
	return t.writeSigframe(th, ex)
}

// deliverOwn lets a thread first have a signal that it raised itself just before it was stopped: on
// its way that would look like a fault of what it is sent to do. It then stands at a handler's
// first instruction.
func (t *Tracee) deliverOwn(th *Thread) error {
	queued, err := pendingSignals(th.TID, t.queued[:])
	if err != nil || th.GroupStop || len(queued) == 0 {
		return t.lost(th, err)
	}
	mask, err := signalMask(th.TID)
	if err != nil {
		return t.lost(th, err)
	}
	if !slices.ContainsFunc(queued, func(si siginfo) bool {
		return si.own() && mask>>(si.signo-1)&1 == 0
	}) {
		return nil
	}
	t.step("excursion:deliver")
	if err := t.resume(th, unix.PTRACE_CONT, 0); err != nil {
		// to the signal: it comes before anything else
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

// start sets the thread's registers to where it goes and blocks its signals. In this order: with
// the registers set and the old mask still there, the sigframe already leads back.
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

// stopAtInterrupt takes a thread from a system call stop to an interrupt's stop. There, as at the
// stop before the excursion, the kernel looks whether a system call must be restarted; and the next
// system call stop is the entry of the next one. On the way it stands before its rt_sigreturn.
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

// getDispatch is PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG.
const getDispatch = 0x4211

// dispatchConfig is what it writes.
type dispatchConfig struct{ mode, selector, offset, size uint64 }

// dispatched reports whether system calls that a thread makes by way of the gadgets may go to the
// program instead of the kernel, as a SIGSYS (PR_SET_SYSCALL_USER_DISPATCH: Wine, emulators). Then
// the way back would, too. What the selector says now is not asked: the thread has to come back
// whatever others write there. Kernels before 6.4 do not tell.
func (t *Tracee) dispatched(tid int) bool {
	var c dispatchConfig
	if ptracePointer(getDispatch, tid, unsafe.Sizeof(c), unsafe.Pointer(&c)) != nil || c.mode == 0 {
		return false
	}
	for _, nr := range []uint64{0, sysSigreturn} {
		if t.o.Gadgets.afterSyscall(nr)-c.offset >= c.size {
			return true
		}
	}
	return false
}

// rseqConfig is what PTRACE_GET_RSEQ_CONFIGURATION writes.
type rseqConfig struct {
	area             uint64
	size, sig, flags uint32
	_                uint32
}

// leaveRseq moves the program counter out of a restartable sequence (rseq(2)) to its abort handler,
// as any preemption may. The kernel forgets the sequence when it sees the thread elsewhere; brought
// back into the middle, the thread would complete it on stale data. Kernels before 5.13 do not
// tell, and what cannot be read is not a sequence.
func (t *Tracee) leaveRseq(tid int, r *Registers) {
	var c rseqConfig
	if ptracePointer(unix.PTRACE_GET_RSEQ_CONFIGURATION, tid, unsafe.Sizeof(c),
		unsafe.Pointer(&c)) != nil || c.area == 0 {
		return
	}
	var p [8]byte
	if stackRead(tid, c.area+8, p[:]) != nil { // rseq_cs, after two CPU numbers
		return
	}
	descriptor := binary.LittleEndian.Uint64(p[:])
	var cs [32]byte // version and flags, start, length, abort handler
	if descriptor == 0 || stackRead(tid, descriptor, cs[:]) != nil {
		return
	}
	start, length := binary.LittleEndian.Uint64(cs[8:]), binary.LittleEndian.Uint64(cs[16:])
	if r.pc()-start < length {
		_ = r.setPC(binary.LittleEndian.Uint64(cs[24:]))
	}
}
