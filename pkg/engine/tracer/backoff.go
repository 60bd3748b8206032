package tracer

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// backoff spaces out the looks at a thread that is not stopped yet. Most stops come within
// microseconds, so it first only gives the CPU away (the thread may need this very one). When the
// time is over in which a thread makes a few system calls and comes back, it sleeps, doubling up to
// a millisecond: to wake up takes longer than such a stop. A blocking wait would be simpler, but it
// knows no deadline, and Go restarts it after every signal.
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

// stateEvery is how many pauses are between two readings of a thread's state in /proc, each of
// which costs as much as several looks: with the shortest pauses 0.1 ms, with the longest 8 ms.
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
