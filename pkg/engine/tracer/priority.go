package tracer

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// priority is how a worker's thread is scheduled while it holds a stopped process: before
// everything else that has no real-time priority. On a machine with more threads that run than
// CPUs, a thread that waits for its turn among the others waits for milliseconds each time it has
// slept or was preempted, and the process with it.
//
// Meanwhile Go's scheduler is not told of pauses. After a system call of which it knows, a thread
// spins while another thread of this process looks at what it was doing, and that one, with
// ordinary priority, may be waiting for this very CPU.
//
// It lasts from before the first thread is seized until all have been let go: a thread that gets a
// signal after the seize is stopped until the worker looks at it. A worker gives its CPU away
// whenever it waits for something; one that does not come to an end is an ordinary thread again
// after urgentMost, and if even that is not to be, the kernel lets real-time threads have 95 % of
// each second at most (sched_rt_runtime_us).
type priority struct {
	mu     sync.Mutex
	tried  bool
	tid    int
	before *unix.SchedAttr // what was changed; nil if nothing was
	timer  *time.Timer
}

const (
	// urgentMost is more than a stop takes even on a loaded machine.
	priorityMost = 100 * time.Millisecond
	// shortSlice is the shortest that the kernel knows, in nanoseconds; its own is some
	// milliseconds.
	shortSlice = 100_000
)

// raisePriority gives the calling thread real-time priority, or, where that is not permitted
// (CAP_SYS_NICE), a short slice (since Linux 6.12; before, it changes nothing), which comes more
// often, and is no more in the end. A thread whose scheduling was chosen by somebody keeps it.
func (p *priority) raisePriority() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tried {
		return
	}
	p.tried, p.tid = true, unix.Gettid()
	old, err := unix.SchedGetAttr(0, 0)
	if err != nil || old.Policy != unix.SCHED_NORMAL {
		return
	}
	old.Flags &= unix.SCHED_FLAG_RESET_ON_FORK // others are of this call
	first := unix.SchedAttr{Size: old.Size, Policy: unix.SCHED_FIFO, Priority: 1,
		Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	often := *old
	often.Runtime = shortSlice
	for _, a := range []*unix.SchedAttr{&first, &often} {
		if unix.SchedSetAttr(0, a, 0) == nil {
			p.before = old
			p.timer = time.AfterFunc(priorityMost, p.expire)
			return
		}
	}
}

// expire makes the thread an ordinary one again, if it still has the priority.
func (p *priority) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.before != nil {
		_ = unix.SchedSetAttr(p.tid, p.before, 0)
	}
}

// restorePriority ends what raisePriority began, on the same thread.
func (p *priority) restorePriority() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.before != nil {
		p.timer.Stop()
		_ = unix.SchedSetAttr(0, p.before, 0)
	}
	p.tried, p.before = false, nil
}

// realtime reports whether the thread runs before all ordinary ones.
func (p *priority) realtime() bool { return p.before != nil }
