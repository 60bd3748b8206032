package tracer

import (
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// worker is a goroutine that makes all ptrace calls for one tracee from one operating system
// thread, as the kernel demands. When that thread ends, the kernel detaches whatever it still
// traces: that is the way out of threads that cannot be stopped.
//
// It keeps a thread to itself only while it works for a tracee. Otherwise it is a
// goroutine like others, so that to hand it work, and to hear that it is done, wakes up no thread:
// on a machine with idle CPUs, that takes as long as a stop.
type worker struct {
	tid  atomic.Int32 // of the thread that it keeps; 0 if it keeps none
	jobs chan func()
	done chan struct{} // closed when the goroutine has returned

	priority
	rests int // how often it has waited for work
}

func startWorker() *worker {
	if w := idleWorkers.take(); w != nil {
		return w
	}
	w := &worker{jobs: make(chan func()), done: make(chan struct{})}
	go w.run()
	return w
}

// run does what comes. If it keeps a thread at the end, Go ends that with it.
func (w *worker) run() {
	for f := range w.jobs {
		if !w.keepThread() {
			w.runElsewhere(f)
			return
		}
		f()
	}
	close(w.done)
}

// keepThread takes the thread that this goroutine is on for itself. false: that is the process's
// first one, which Go never ends, so that what it traces would be traced for ever; it is held until
// the goroutine lets it go.
func (w *worker) keepThread() bool {
	if w.tid.Load() != 0 {
		return true
	}
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		return false
	}
	// short sleeps shall be short; the default adds 50 µs
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	growStack()
	castagnoli()
	w.tid.Store(int32(unix.Gettid()))
	return true
}

// runElsewhere goes on in another goroutine. The first thread is held until that one has another
// thread.
func (w *worker) runElsewhere(f func()) {
	other := make(chan struct{})
	go func() {
		w.keepThread()
		close(other)
		f()
		w.run()
	}()
	<-other
	runtime.UnlockOSThread()
}

// leaveThread gives the thread back. false: something is still traced from it, and it stays.
func (w *worker) leaveThread() bool {
	if tracesAny() {
		return false
	}
	w.restorePriority()
	// the default, which programs that it starts inherit
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	w.tid.Store(0)
	runtime.UnlockOSThread()
	return true
}

// tracesAny reports whether this thread traces anything, also what came to it by a clone with
// CLONE_PTRACE in a process that it traced, which is in no list. Children that Go's runtime has
// started do not count.
func tracesAny() bool {
	var si siginfo
	const options = unix.WEXITED | unix.WSTOPPED | unix.WNOHANG | unix.WNOWAIT | unix.WCLONE |
		unix.WNOTHREAD
	_, _, e := unix.RawSyscall6(unix.SYS_WAITID, unix.P_ALL, 0, uintptr(unsafe.Pointer(&si)),
		options, 0, 0)
	return e != unix.ECHILD
}

// here reports whether the caller is on the worker's thread.
func (w *worker) here() bool { return int32(unix.Gettid()) == w.tid.Load() }

// do runs f on the worker's thread and waits for it; called on that thread already, it just runs f.
func (w *worker) do(f func()) {
	if w.here() {
		f()
		return
	}
	done := make(chan struct{})
	w.jobs <- func() { defer close(done); f() }
	<-done
}

// rest ends the work for one tracee. A worker that traces nothing any more waits a while for
// another one.
func (w *worker) rest(traces bool) {
	if traces || w.here() {
		w.end(traces)
		return
	}
	if w.tid.Load() != 0 {
		left := false
		if w.do(func() { left = w.leaveThread() }); !left {
			w.end(true)
			return
		}
	}
	idleWorkers.add(w)
}

// idle are workers that wait for work.
type idle struct {
	mu   sync.Mutex
	list []*worker // the last one was the last to work
}

// Bounds of waiting workers: how long, and how many.
const (
	idleTime = 100 * time.Millisecond
	idleMost = 16
)

var idleWorkers idle

func (i *idle) take() *worker {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.list)
	if n == 0 {
		return nil
	}
	w := i.list[n-1]
	i.list = i.list[:n-1]
	return w
}

func (i *idle) add(w *worker) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.list) == idleMost {
		w.end(false)
		return
	}
	i.list = append(i.list, w)
	w.rests++
	rests := w.rests
	time.AfterFunc(idleTime, func() { i.expire(w, rests) })
}

// expire ends a worker that has been waiting since it rested for the nth time.
func (i *idle) expire(w *worker, rests int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at := slices.Index(i.list, w); at >= 0 && w.rests == rests {
		i.list = slices.Delete(i.list, at, at+1)
		w.end(false)
	}
}

// end ends the worker, and the thread that it keeps. With wait it returns only when the kernel has
// let go of everything that the thread traced.
func (w *worker) end(wait bool) {
	tid := int(w.tid.Load())
	close(w.jobs)
	if !wait || tid == 0 || unix.Gettid() == tid {
		return
	}
	<-w.done
	path := "/proc/self/task/" + strconv.Itoa(tid)
	var st unix.Stat_t
	for b := (backoff{}); b.n < 2000 && unix.Stat(path, &st) == nil; b.pause() {
	}
}
