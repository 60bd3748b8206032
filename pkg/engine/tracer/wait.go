package tracer

import (
	"context"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stopKind says in what state a wait found a thread.
type stopKind int

const (
	running       stopKind = iota // not stopped (yet)
	stopInterrupt                 // stopped by PTRACE_INTERRUPT
	stopGroup                     // takes part in a group stop
	stopSignaled                  // about to get a signal
	stopSyscall                   // enters or leaves a system call
	stopExec                      // has executed another program
	stopOther                     // any other event
	ended                         // exited or killed
)

// stop is what a wait found.
type stop struct {
	kind   stopKind
	signal int // stopSignaled, stopGroup
}

// peek looks at a thread without consuming what it finds: neither a stop (the signal in it must survive this process)
// nor an exit (which belongs to the parent).
func peek(tid int) stop {
	s, _ := look(tid)
	return s
}

// look is peek; exited says that there is an exit to be waited for.
func look(tid int) (s stop, exited bool) {
	var si siginfo
	const options = unix.WEXITED | unix.WSTOPPED | unix.WNOHANG | unix.WNOWAIT | unix.WALL
	_, _, e := unix.RawSyscall6(unix.SYS_WAITID, unix.P_PID, uintptr(tid), uintptr(unsafe.Pointer(&si)), options, 0, 0)
	switch {
	case e != 0:
		return stop{kind: ended}, false // ECHILD: not ours any more
	case si.signo == 0:
		return stop{kind: running}, false
	case si.code < cldTrapped:
		return stop{kind: ended}, true
	}
	return decodeStop(int(si.status)), false
}

// Codes of SIGCHLD: CLD_EXITED, CLD_KILLED and CLD_DUMPED are below CLD_TRAPPED, CLD_STOPPED above.
const cldTrapped = 4

// decodeStop reads a ptrace stop's status: the signal in the low byte, the event above.
func decodeStop(status int) stop {
	sig, event := status&0xff, status>>8&0xff
	switch {
	case event == unix.PTRACE_EVENT_STOP && sig == int(unix.SIGTRAP):
		return stop{kind: stopInterrupt}
	case event == unix.PTRACE_EVENT_STOP:
		return stop{stopGroup, sig}
	case event == unix.PTRACE_EVENT_EXEC:
		return stop{kind: stopExec}
	case event != 0:
		return stop{kind: stopOther}
	case sig == int(unix.SIGTRAP)|0x80:
		return stop{kind: stopSyscall}
	}
	return stop{stopSignaled, sig}
}

// toHandOn is the signal with which a thread goes on from a stop, if nothing is to be kept from it.
func (s stop) toHandOn() uintptr {
	if s.kind == stopSignaled {
		return uintptr(s.signal)
	}
	return 0
}

// backoff spaces out the looks at a thread that is not stopped yet. Most stops come within microseconds, so it first only
// gives the CPU away (the thread may need this very one). When the time is over in which a thread makes a few system calls
// and comes back, it sleeps, doubling up to a millisecond: to wake up takes longer than such a stop. A blocking wait would
// be simpler, but it knows no deadline, and Go restarts it after every signal.
type backoff struct {
	realtime bool      // this thread has real-time priority, and must sleep to give the CPU away
	n        int       // looks
	sleeps   int       // looks after which it slept
	began    time.Time // to give the CPU away
}

const (
	backoffSpins = 20
	backoffSpun  = 30 * time.Microsecond
	backoffAwake = 150 * time.Microsecond
	backoffFirst = 10 * time.Microsecond
	backoffMost  = time.Millisecond
)

// slow reports whether the wait has taken some time already.
func (b *backoff) slow() bool { return b.sleeps > 0 }

// stateEvery is how many pauses are between two readings of a thread's state in /proc, each of which costs as much as several
// looks: with the shortest pauses 0.1 ms, with the longest 8 ms.
const stateEvery = 8

// wantsState reports whether it is time to read the thread's state.
func (b *backoff) wantsState() bool { return b.sleeps%stateEvery == stateEvery-1 }

// pause waits until the next look.
func (b *backoff) pause() {
	switch b.n++; {
	case b.n <= backoffSpins:
		return
	case b.began.IsZero():
		b.began = time.Now()
	}
	if b.realtime && b.sleeps == 0 && runtime.NumCPU() > 1 && time.Since(b.began) < backoffSpun {
		return // what is waited for may be on another CPU, and then it comes at once
	}
	if b.sleeps == 0 && !b.realtime && time.Since(b.began) < backoffAwake {
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		return
	}
	b.sleeps++
	d := min(backoffFirst<<min(b.sleeps/4, 10), backoffMost)
	ts := unix.NsecToTimespec(d.Nanoseconds())
	if b.realtime { // see priority
		_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		return
	}
	_ = unix.Nanosleep(&ts, nil)
}

// reapOthersEvery is how many looks are between two looks at all other threads: with the longest pauses, 0.1 s.
const reapOthersEvery = 100

// reapOthers takes notice of the end of threads that nobody waits for at the moment.
func (t *Tracee) reapOthers() {
	for tid := range t.known {
		if tid != t.pid {
			reap(tid)
		}
	}
}

// wait waits until the thread is stopped or has ended. Its errors are the context's, or ErrNotStopping at the
// deadline, if there is one.
func (t *Tracee) wait(ctx context.Context, tid int, deadline time.Time) (stop, error) {
	for b := (backoff{realtime: t.w.realtime()}); ; b.pause() {
		late := b.slow() && !deadline.IsZero() && time.Now().After(deadline)
		s := peek(tid)
		if s.kind == running && (late || b.wantsState()) {
			if over, err := t.ended(tid); err == nil && over { // if that is not known, it is waited for
				s.kind = ended // the kernel does not tell the end of a process's first thread before that of the others
			}
		}
		if s.kind == ended && tid != t.pid {
			reap(tid) // or an exec of the process, which waits for that, never ends
		}
		if s.kind == running && b.n%reapOthersEvery == 0 {
			t.reapOthers() // it may be the one that executes
		}
		if s.kind != running { // looked at behind the clock: what is late may be this process
			return s, nil
		}
		if err := ctx.Err(); err != nil {
			return stop{}, t.fail("waiting for a stop", tid, context.Cause(ctx))
		}
		if late {
			return stop{}, t.fail("waiting for a stop", tid, ErrNotStopping)
		}
	}
}
