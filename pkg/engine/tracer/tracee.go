package tracer

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Options of [Run]. The zero value works.
type Options struct {
	// StopTimeout limits the time from the first interrupt until all threads are stopped (0: one
	// second), besides the context. While one thread does not stop, the others are already stopped.
	StopTimeout time.Duration
	// MaxStop is for how long the process may be stopped at most (0: no limit). It bounds
	// StopTimeout, and [Tracee.Late] reports when it is over; what cannot be abandoned then is
	// carried on with.
	MaxStop time.Duration
	// SuspendSeccomp lets the target's threads make any system call as long as they are traced. It
	// needs CAP_SYS_ADMIN, and it ends with this process: killed in the middle of a call that a
	// filter forbids, the target meets its filter.
	SuspendSeccomp bool
	// TrustSeccomp lets threads run something although their filter of system calls cannot be read,
	// which needs CAP_SYS_ADMIN. Set it only if the filter is known to allow rt_sigreturn, and
	// what is to run.
	TrustSeccomp bool
	// Gadgets are needed by [Tracee.Syscalls] and [Tracee.Call]; see [FindGadgets].
	Gadgets Gadgets

	step func(name string) // test hook, called between all operations that the target can notice
}

// defaultStopTimeout is Options.StopTimeout's default.
const defaultStopTimeout = time.Second

// Tracee is a process all of whose threads are stopped. Its methods may be called from any
// goroutine, but not at the same time; between several calls under one stop, [Tracee.Do] saves the
// change of threads.
type Tracee struct {
	pid     int
	o       Options
	w       *worker
	dir     *procfs.Dir
	space   space
	mem     *Memory // of it, once all are stopped
	state   state
	scratch *scratch
	queued  [32]siginfo // room for what pendingSignals reads
	blocks  []Range     // of tracers that were killed, in the first thread's stack
	reaper  *reaper     // while it is being attached
	phase   atomic.Int32
	threads []*Thread
	known   map[int]*Thread
	exited  map[int]bool // threads that had ended when they were to be seized
	partial bool         // there are threads that are left alone
	// threads that were seized and not detached: the kernel may hold them until the tracer thread
	// ends
	left     int
	attached time.Time // first interrupt since all ran
	stopTime time.Duration
	detached bool
	after    func() // see AfterDetach
}

// Threads returns the threads that are stopped, the first thread of the process first if it still
// runs.
func (t *Tracee) Threads() []*Thread { return t.threads }

// Memory returns the target's memory.
func (t *Tracee) Memory() *Memory { return t.mem }

// StopTime is the time from the first interrupt until the last thread was let go: how long the
// process, or some of its threads, was stopped. With [Tracee.WhileRunning] it is the longest such
// time. Zero before Detach.
func (t *Tracee) StopTime() time.Duration { return t.stopTime }

// Do runs f on the operating system thread that owns the tracee. Each method called elsewhere costs
// two changes of threads, some ten microseconds in which the target is stopped; inside f they
// cost nothing.
func (t *Tracee) Do(f func() error) (err error) {
	if t.detached {
		return t.fail("running a function", 0, ErrDetached)
	}
	t.w.do(func() { err = f() })
	return err
}

// Run stops all threads of a process, runs f as [Tracee.Do] does, and lets them go whatever happens
// in f. It returns how long the process was stopped, and f's error before that of letting go. If it
// cannot stop them the error is ErrGone, ErrPermission, ErrTraced, ErrNotStopping, ErrUnsupported,
// ErrExec, ErrOurTracer or the context's, in an [*Error], and everything runs as before.
//
// That the process still runs the program that its caller knows must be asked in f, since it may
// have executed another one just before.
func Run(ctx context.Context, pid int, o Options, f func(*Tracee) error) (time.Duration, error) {
	if !supported {
		return 0, errArch(pid)
	}
	if err := Stoppable(pid); err != nil {
		return 0, err
	}
	if err := takeSlot(ctx); err != nil {
		return 0, &Error{Op: "waiting for a CPU", PID: pid, Err: err}
	}
	defer func() { <-slots }()
	t := newTracee(pid, o)
	// written to when all is over: waking this thread would take time under the stop
	done := make(chan error, 1)
	t.w.jobs <- func() {
		err := t.attach(ctx)
		if err == nil {
			err = t.runAndDetach(f)
		}
		if t.left == 0 {
			_ = t.w.leaveThread() // or it is ended below
		}
		done <- err
	}
	err := t.doneOrLate(ctx, done)
	if t.phase.Load() == phaseLeft { // everything else is still that thread's
		t.w.end(false)
		return 0, err
	}
	t.w.rest(t.left > 0)
	if t.phase.Load() != phaseAttached {
		return 0, err
	}
	return t.stopTime, err
}

func (t *Tracee) runAndDetach(f func(*Tracee) error) (err error) {
	defer func() {
		if derr := t.Detach(); err == nil {
			err = derr
		}
	}()
	return f(t)
}

// Late reports whether the process has been stopped for longer than Options.MaxStop. Whoever can
// still undo what was done should do so, and try again later.
func (t *Tracee) Late() bool {
	return t.o.MaxStop > 0 && !t.attached.IsZero() && time.Since(t.attached) > t.o.MaxStop
}

// slots are held by those who stop a process, from before its first thread is seized until the last
// one was let go. There are as many as CPUs: of more processes, some would be stopped without
// anybody working on them.
var slots = make(chan struct{}, max(1, min(runtime.NumCPU(), runtime.GOMAXPROCS(0))))

// takeSlot waits for a slot.
func takeSlot(ctx context.Context) error {
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// SetPC moves a thread: it will go on at pc instead of where it stood. One step, nothing to
// restore. A thread inside a system call that is going to be restarted must not be moved.
func (t *Tracee) SetPC(th *Thread, pc uint64) error {
	return t.Do(func() error {
		regs := th.regs
		if err := regs.setPC(pc); err != nil {
			return t.fail("moving the thread", th.TID, err)
		}
		if err := setRegisters(th.TID, &regs); err != nil {
			return t.fail("moving the thread", th.TID, t.lost(th, err))
		}
		th.regs = regs
		return nil
	})
}

// step calls the test hook.
func (t *Tracee) step(name string) {
	if t.o.step != nil {
		t.o.step(name)
	}
}

// errArch is the answer where lpbuild cannot do it yet.
func errArch(pid int) error {
	return &Error{Op: "stopping its threads", PID: pid, Err: fmt.Errorf("on %s: %w", runtime.GOARCH,
		ErrUnsupported)}
}

func newTracee(pid int, o Options) *Tracee {
	if o.StopTimeout == 0 {
		o.StopTimeout = defaultStopTimeout
	}
	if o.MaxStop > 0 {
		o.StopTimeout = min(o.StopTimeout, o.MaxStop)
	}
	suppressStopSIGCHLD()
	warmUp()
	t := &Tracee{pid: pid, o: o, w: startWorker(), known: map[int]*Thread{}, exited: map[int]bool{}}
	t.mem = &Memory{t: t}
	t.scratch = newScratch()
	return t
}

// lateness is how much later than the deadline an attach may come back. Only one that hangs in the
// kernel does not: while a process executes a program, nobody can seize it, and reading that
// program may take for ever.
const lateness = time.Second

// doneOrLate waits for what the tracer thread is busy with. As long as that is the attach, it is
// left behind if it does not come back: whenever it does, it lets go of what it has, and ends its
// thread.
func (t *Tracee) doneOrLate(ctx context.Context, done <-chan error) error {
	timer := time.NewTimer(t.o.StopTimeout + lateness)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return t.leaveBehind(done, ErrNotStopping)
	case <-ctx.Done():
		timer.Reset(lateness)
		select {
		case err := <-done:
			return err
		case <-timer.C:
			return t.leaveBehind(done, context.Cause(ctx))
		}
	}
}

// Phases of an attach.
const (
	phaseAttaching int32 = iota
	phaseAttached
	phaseLeft // nobody waits for it any more
)

func (t *Tracee) leaveBehind(done <-chan error, why error) error {
	if !t.phase.CompareAndSwap(phaseAttaching, phaseLeft) {
		return <-done // it is attached
	}
	return t.fail("attaching", 0, why)
}

// fail makes an Error of err; an error that is one already keeps its first, more precise place.
func (t *Tracee) fail(op string, tid int, err error) error {
	if _, ok := errors.AsType[*Error](err); ok || err == nil {
		return err
	}
	return &Error{Op: op, PID: t.pid, TID: tid, Err: err}
}

// WithStep returns options with which f is called before each operation that the target can notice.
// It is for the tests of packages that work through this one: they see to it that the target
// outlives them at each of these moments.
func WithStep(o Options, f func(name string)) Options {
	o.step = f
	return o
}
