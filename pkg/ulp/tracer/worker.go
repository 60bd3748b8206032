package tracer

import (
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// worker is an operating system thread that makes all ptrace calls for one tracee, as the kernel demands. When it ends,
// the kernel detaches whatever it still traces: that is the way out of threads that cannot be stopped.
type worker struct {
	tid  int
	jobs chan func()
	done chan struct{} // closed when the goroutine has returned
}

func startWorker() *worker {
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
