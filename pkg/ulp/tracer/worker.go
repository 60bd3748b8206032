package tracer

import (
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// worker is an operating system thread that makes all ptrace calls for one tracee, as the kernel demands. When it ends,
// the kernel detaches whatever it still traces: that is the way out of threads that cannot be stopped.
type worker struct {
	tid  int
	jobs chan func()
	done chan struct{} // closed when the goroutine has returned

	rests int // how often it has waited for work
}

func startWorker() *worker {
	if w := idleWorkers.take(); w != nil {
		return w
	}
	w := &worker{jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan struct{})
	go w.run(ready)
	<-ready
	return w
}

// run never unlocks its thread: Go ends a thread whose goroutine returns locked. All but the first one of the process:
// that one it parks for ever, and it would keep its tracees for ever. So the first thread is held just long enough for
// another one to take over.
func (w *worker) run(ready chan struct{}) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		other := make(chan struct{})
		go w.run(other)
		<-other
		runtime.UnlockOSThread()
		close(ready)
		return
	}
	w.tid = unix.Gettid()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // short sleeps shall be short; the default adds 50 µs
	deepen()
	close(ready)
	for f := range w.jobs {
		f()
	}
	close(w.done)
}

// do runs f on the worker's thread and waits for it; called on that thread already, it just runs f.
func (w *worker) do(f func()) {
	if unix.Gettid() == w.tid {
		f()
		return
	}
	done := make(chan struct{})
	w.jobs <- func() { defer close(done); f() }
	<-done
}

// rest ends the work for one tracee. A thread that traces nothing any more waits a while for another one.
func (w *worker) rest(traces bool) {
	if traces || unix.Gettid() == w.tid {
		w.end(traces)
		return
	}
	idleWorkers.add(w)
}

// idle are threads that wait for work.
type idle struct {
	mu   sync.Mutex
	list []*worker // the last one was the last to work
}

// Bounds of waiting threads: how long, and how many.
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

// expire ends a thread that has been waiting since it rested for the nth time.
func (i *idle) expire(w *worker, rests int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if at := slices.Index(i.list, w); at >= 0 && w.rests == rests {
		i.list = slices.Delete(i.list, at, at+1)
		w.end(false)
	}
}

// end ends the thread. With wait it returns only when the kernel has let go of everything the thread traced.
func (w *worker) end(wait bool) {
	close(w.jobs)
	if !wait || unix.Gettid() == w.tid {
		return
	}
	<-w.done
	path := "/proc/self/task/" + strconv.Itoa(w.tid)
	var st unix.Stat_t
	for p := (pace{}); p.n < 2000 && unix.Stat(path, &st) == nil; p.rest() {
	}
}
