package tracer

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Attach stops all threads of a process. It returns ErrGone, ErrPermission, ErrTraced, ErrNotStopping, ErrUnsupported,
// ErrExec or the context's error, each in an [*Error], and then nothing is attached and everything runs as before.
// Every Tracee must be given to [Tracee.Detach].
func Attach(ctx context.Context, pid int, o Options) (*Tracee, error) {
	t := newTracee(pid, o)
	var err error
	t.w.do(func() { err = t.attach(ctx) })
	if err != nil {
		t.w.end(t.anyLeft())
		return nil, err
	}
	return t, nil
}

func newTracee(pid int, o Options) *Tracee {
	if o.StopTimeout == 0 {
		o.StopTimeout = defaultStopTimeout
	}
	return &Tracee{pid: pid, o: o, w: startWorker(), known: map[int]*Thread{}}
}

// attach is Attach on the tracer thread.
func (t *Tracee) attach(ctx context.Context) error {
	err := t.openMemory()
	if err != nil {
		return t.fail("opening its memory", 0, t.reason(t.pid, err))
	}
	if err = t.stopAll(ctx); err == nil {
		t.threads = slices.DeleteFunc(t.threads, func(th *Thread) bool { return th.gone })
		if len(t.threads) == 0 {
			err = t.fail("stopping its threads", 0, ErrGone)
		}
	}
	if err != nil {
		_ = t.release()
	}
	return err
}

// openMemory opens the process's memory: by its first thread, or by another one if that has ended before the others.
func (t *Tracee) openMemory() error {
	f, err := os.OpenFile("/proc/"+strconv.Itoa(t.pid)+"/mem", os.O_RDWR, 0)
	if errors.Is(err, unix.ESRCH) {
		tids, _ := tasks(t.pid)
		for i := 0; i < len(tids) && err != nil; i++ {
			f, err = os.OpenFile(taskPath(t.pid, tids[i], "mem"), os.O_RDWR, 0)
		}
	}
	if err != nil {
		return err
	}
	t.mem = &Memory{f}
	return nil
}

// stopAll seizes and interrupts every thread, and again those that appeared meanwhile. Only a running thread can make
// another one: when all that are known stand still and the list shows no new one, there is none.
func (t *Tracee) stopAll(ctx context.Context) error {
	for deadline := time.Now().Add(t.o.StopTimeout); ; {
		tids, err := tasks(t.pid)
		if err != nil {
			return t.fail("listing its threads", 0, t.reason(t.pid, err))
		}
		grown, err := t.seizeNew(tids)
		if err != nil || !grown {
			return err
		}
		for _, th := range t.threads {
			if th.stopped || th.gone {
				continue
			}
			if err := t.settle(ctx, th, deadline); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return t.fail("stopping its threads, which keep appearing", 0, ErrNotStopping)
		}
	}
}

// seizeNew seizes the threads in tids that are not yet known. That a stranger's thread is among them (the id was given to
// another process between listing and seizing) is excluded by looking again.
func (t *Tracee) seizeNew(tids []int) (grown bool, err error) {
	options := uintptr(ptraceOptions)
	if t.o.SuspendSeccomp {
		options |= unix.PTRACE_O_SUSPEND_SECCOMP
	}
	for _, tid := range tids {
		if t.known[tid] != nil {
			continue
		}
		if t.attached.IsZero() {
			t.attached = time.Now()
		}
		t.step("attach:seize")
		err := ptrace(unix.PTRACE_SEIZE, tid, options)
		if err != nil {
			if err = t.reason(tid, err); errors.Is(err, ErrGone) {
				continue // a thread that ended, or is ending
			}
			return grown, t.fail("seizing", tid, err)
		}
		th := &Thread{TID: tid}
		t.known[tid], t.threads, grown = th, append(t.threads, th), true
		t.step("attach:interrupt")
		if err := ptrace(unix.PTRACE_INTERRUPT, tid, 0); err != nil {
			th.gone = true
		}
	}
	return grown, nil
}

// settle waits until an interrupted thread stands at its interrupt (or in its group stop). Signals that come first are
// handed on: the interrupt is still pending, and stops the thread again before it executes anything.
func (t *Tracee) settle(ctx context.Context, th *Thread, deadline time.Time) error {
	for {
		t.step("attach:wait")
		s, err := t.wait(ctx, th.TID, deadline)
		if err != nil {
			return err
		}
		switch s.kind {
		case ended:
			th.gone = true
			return nil
		case stopExec:
			th.stopped = true
			return t.fail("stopping its threads", th.TID, ErrExec)
		case stopInterrupt, stopGroup:
			th.stopped, th.GroupStop, th.Since = true, s.kind == stopGroup, time.Now()
			return t.admit(th)
		}
		t.step("attach:handon")
		if err := ptrace(unix.PTRACE_CONT, th.TID, uintptr(s.signal)); err != nil {
			th.gone = true
			return nil
		}
	}
}

// admit reads a stopped thread's registers and looks whether it is of a kind that can be handled.
func (t *Tracee) admit(th *Thread) error {
	var err error
	if th.regs, err = readRegisters(th.TID); err != nil {
		return t.fail("reading the registers", th.TID, t.lost(th, err))
	}
	if again := th.regs; !th.GroupStop && again.restartEINTR() {
		t.step("attach:restart")
		if err := setRegisters(th.TID, &again); err != nil {
			return t.fail("restarting the system call", th.TID, t.lost(th, err))
		}
		th.regs = again
	}
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
	if !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
		return err
	}
	status := map[string]string{"State": "", "TracerPid": "", "VmSize": "", "PPid": ""}
	if taskStatus(t.pid, tid, status) != nil {
		return ErrGone
	}
	tracer, _ := strconv.Atoi(status["TracerPid"])
	switch {
	case strings.HasPrefix(status["State"], "Z"), strings.HasPrefix(status["State"], "X"):
		return ErrGone
	case status["VmSize"] == "" && (tid == 2 || status["PPid"] == "2"):
		return ErrUnsupported // a kernel thread
	case tracer != 0:
		return &Error{Op: "seizing", PID: t.pid, TID: tid, Tracer: tracer, Err: ErrTraced}
	case errors.Is(err, os.ErrPermission) && status["VmSize"] != "":
		return ErrPermission
	}
	return ErrGone
}
