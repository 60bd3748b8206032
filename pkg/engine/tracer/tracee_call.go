package tracer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Call makes the target's thread th run a function of the target, with up to six arguments, and
// returns its result. All asynchronous signals are blocked meanwhile; extended registers start as
// the ABI has them where a function is entered. The other threads are stopped, so the function must
// not wait for one: it must not need a lock that another thread may hold.
//
// The function returns not to a trap but to two pieces of libc's code: one that stores the result
// beside the sigframe and the signal restorer. So if this process dies while the function runs, the
// function finishes, and th goes on with what it did before. A function that ends in a trap of its
// own (int3) must not be called: nobody would be there to catch it. For libpulp's entry points,
// [TrapTarget] finds the function inside.
//
// If ctx ends first, its error is returned, but the function is not broken off: it may hold locks.
// Detach then lets the thread go on with it, and it comes back by itself. If the function raises a
// signal such as SIGSEGV, that is suppressed, th is put back, and the error is ErrFault; what the
// function did until then remains.
//
// A function's end is noticed in one of two ways. Usually th is sent a signal that the process
// ignores by default and has no handler for; it stays blocked until the restorer has brought the
// old mask back, and stops th there. Where there is no such signal, or th was interrupted in a
// system call whose remaining time the restorer would forget, th is stopped at each system call
// instead, which costs some 10 µs for each that the function makes.
func (t *Tracee) Call(ctx context.Context, th *Thread, fn uint64, args ...uint64) (uint64, error) {
	var value uint64
	err := t.Do(func() (err error) {
		if len(args) > 6 || !t.o.Gadgets.canCall() {
			return t.fail("calling a function", th.TID, fmt.Errorf("%d arguments: %w", len(args),
				ErrGadget))
		}
		if err := t.prepare(th, callRoom); err != nil {
			return err
		}
		value, err = t.call(ctx, th, fn, args)
		return t.fail(fmt.Sprintf("calling %#x", fn), th.TID, err)
	})
	return value, err
}

// call is Call after the preparations.
func (t *Tracee) call(ctx context.Context, th *Thread, fn uint64, args []uint64) (uint64, error) {
	ex := th.excursion
	if err := t.start(th, ex.regs.toFunction(fn, args, t.o.Gadgets, ex.sigframe)); err != nil {
		return 0, err
	}
	if !entersFunctions(ex.xstate) {
		t.step("call:xstate")
		if err := restoreXstate(th.TID, initialXstate(ex.xstate)); err != nil {
			return 0, t.lost(th, err)
		}
	}
	signal := t.completionSignal(th)
	how := unix.PTRACE_CONT
	if signal == 0 {
		how = unix.PTRACE_SYSCALL
	}
	if err := t.toReturn(ctx, th, how, signal); err != nil {
		if th.stopped && th.excursion != nil {
			_ = t.restore(th)
		}
		return 0, err
	}
	var b [8]byte
	if err := stackRead(th.TID, ex.sigframe.value, b[:]); err != nil {
		return 0, err
	}
	if th.excursion == nil { // came back by itself
		return binary.LittleEndian.Uint64(b[:]), t.leaveArea(th, ex)
	}
	return binary.LittleEndian.Uint64(b[:]), t.restore(th)
}

// completionSignal sends the thread a signal that will stop it when it is back: one that the
// process ignores, so that nothing happens if nobody is there any more. 0: there is none.
func (t *Tracee) completionSignal(th *Thread) int {
	s, err := t.stateOf(th)
	if err != nil || th.excursion.regs.forgetsTime() {
		return 0
	}
	for _, signal := range []unix.Signal{unix.SIGURG, unix.SIGWINCH, unix.SIGCHLD} {
		if (s.caught|th.excursion.ownMask)>>(signal-1)&1 == 0 {
			t.step("call:signal")
			if unix.Tgkill(t.pid, th.TID, signal) == nil {
				return int(signal)
			}
		}
	}
	return 0
}

// toReturn lets a thread run until its function has returned: to the stop that the completion
// signal makes, or to the entry of its rt_sigreturn.
func (t *Tracee) toReturn(ctx context.Context, th *Thread, how, completion int) error {
	for signal := 0; ; {
		if err := t.resume(th, how, signal); err != nil {
			return err
		}
		s, err := t.wait(ctx, th.TID, time.Time{})
		if err != nil {
			th.excursion.submitted = true
			return err
		}
		t.step("call:stop")
		signal = int(s.toHandOn())
		switch s.kind {
		case ended:
			th.gone, th.excursion = true, nil
			return ErrGone
		case stopExec:
			th.stopped, th.excursion = true, nil
			return ErrExec
		case stopSignaled:
			th.stopped = true
			back, err := t.registersBack(th)
			if err != nil || back {
				return t.arrive(th, s.signal, completion, err)
			}
			if err := t.faultOf(th.TID, s.signal); err != nil {
				return err
			}
			if s.signal == completion {
				// the function unblocked it: it does not stop the thread at the end
				how, signal = unix.PTRACE_SYSCALL, 0
			}
		case stopSyscall:
			if th.excursion.entered = !th.excursion.entered; th.excursion.entered &&
				t.atReturn(th) {
				th.stopped = true
				return nil
			}
		}
	}
}

// registersBack reports whether the sigframe has brought the thread's own registers back.
func (t *Tracee) registersBack(th *Thread) (bool, error) {
	r, err := readRegisters(th.TID)
	own := th.excursion.regs.resumed()
	return err == nil && r.pc() == own.pc() && r.sp() == own.sp(), t.lost(th, err)
}

// atReturn reports whether a thread that enters a system call enters its rt_sigreturn.
func (t *Tracee) atReturn(th *Thread) bool {
	r, err := readRegisters(th.TID)
	return err == nil && r.entersReturn(th.excursion.sigframe)
}

// arrive ends the excursion of a thread whose sigframe has brought it back, about to get a signal.
// The completion signal is suppressed by whatever resumes the thread next. Another signal that had
// waited is handed on as in [Tracee.waitStopped]. Either way the kernel gets back the interrupted
// system call, and restarts it or not, as the signal demands.
func (t *Tracee) arrive(th *Thread, signal, completion int, err error) error {
	if err != nil {
		return err
	}
	own := th.excursion.regs
	t.step("restore:registers")
	if err := setRegisters(th.TID, &own); err != nil {
		return t.lost(th, err)
	}
	th.regs, th.excursion = own, nil
	if signal == completion {
		return nil
	}
	t.step("restore:interrupt")
	if err := ptrace(unix.PTRACE_INTERRUPT, th.TID, 0); err != nil {
		return t.lost(th, err)
	}
	if err := t.resume(th, unix.PTRACE_CONT, signal); err != nil {
		return err
	}
	return t.waitStopped(context.Background(), th, time.Now().Add(arriveWait))
}

// TrapTarget returns the function that an entry point made for tracers calls: one that consists of
// NOPs, a call and a trap, such as libpulp's __ulp_trigger. Called by itself, the function returns
// instead of trapping. For anything else the error is ErrGadget.
func TrapTarget(mem io.ReaderAt, entry uint64) (uint64, error) {
	var b [gadgetOverlap]byte
	if entry > 1<<63-1 {
		return 0, fmt.Errorf("entry point %#x: %w", entry, ErrGadget)
	}
	n, err := mem.ReadAt(b[:], int64(entry))
	target, ok := trapTarget(b[:n], entry)
	if !ok {
		return 0, fmt.Errorf("entry point %#x: % x: %w", entry, b[:n], errors.Join(err, ErrGadget))
	}
	return target, nil
}
