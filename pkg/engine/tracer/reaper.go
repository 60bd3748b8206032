package tracer

import (
	"slices"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reaper keeps threads that end while they are traced from standing in the way of an exec. The
// thread that executes waits until all others are gone, and those are not gone before their tracer
// has waited for them. Meanwhile it holds a lock that PTRACE_SEIZE needs, so that the tracer itself
// cannot do it: it would wait for the exec, and the exec for it, for ever. So it is done from
// elsewhere, every few milliseconds while threads are being seized. Only the end of threads that
// are not a process's first is taken: that of the first belongs to the parent.
type reaper struct {
	mu    sync.Mutex
	pid   int
	tids  []int
	timer *time.Timer
}

// reapEvery is how long a seize may take before it is looked into.
const reapEvery = 5 * time.Millisecond

func startReaper(pid int, tids ...int) *reaper {
	r := &reaper{pid: pid}
	for _, tid := range tids {
		r.add(tid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer = time.AfterFunc(reapEvery, r.run)
	return r
}

func (r *reaper) add(tid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tid != r.pid {
		r.tids = append(r.tids, tid)
	}
}

func (r *reaper) run() {
	r.mu.Lock()
	defer r.mu.Unlock()
	// once: a number that is free may be given to a child of this process
	r.tids = slices.DeleteFunc(r.tids, reap)
	if r.timer != nil {
		r.timer.Reset(reapEvery)
	}
}

func (r *reaper) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.timer.Stop()
	r.timer = nil
}

// reap takes notice of a traced thread's end, and says whether it has ended. A thread that has not
// is only peeked at: the kernel hands out the stops of traced threads, too, to waits for an
// end alone.
func reap(tid int) bool {
	if s, exited := look(tid); !exited {
		return s.kind == ended
	}
	var si siginfo
	const options = unix.WEXITED | unix.WNOHANG | unix.WALL
	_, _, _ = unix.RawSyscall6(unix.SYS_WAITID, unix.P_PID, uintptr(tid),
		uintptr(unsafe.Pointer(&si)), options, 0, 0)
	return true
}
