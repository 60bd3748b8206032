package tracer

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// ErrOurTracer means that stopping the process would stop this one: it traces a thread of this
// process (strace, gdb), or one of a process that does. Every system call made here waits for it.
//
// Others on which this process depends can be stopped. A reader of its output and a parent that
// waits for it are stopped for as long as one stop lasts, which waits for neither; while a process
// is stopped, no file is opened and nothing is printed.
var ErrOurTracer = errors.New("it traces lpbuild itself, which would stop with it")

// Stoppable returns nil if this process does not depend on that one. The error is ErrOurTracer in
// an [*Error]; or another one if that cannot be known, and then the process must not be stopped
// either.
func Stoppable(pid int) error {
	tracers, err := ours.get()
	if err == nil && tracers[pid] {
		err = ErrOurTracer
	}
	if err != nil {
		return &Error{Op: "looking for the tracers of this process", PID: pid, Err: err}
	}
	return nil
}

// ours are the tracers of this process. They are looked for again after a while: reading the status
// of all threads takes longer than most stops.
var ours tracerSet

type tracerSet struct {
	mu   sync.Mutex
	at   time.Time
	pids map[int]bool
	err  error
}

// tracersLast is for how long the tracers of this process are believed to be the same.
const tracersLast = 50 * time.Millisecond

func (s *tracerSet) get() (map[int]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.at.IsZero() || now.Sub(s.at) > tracersLast {
		s.at, s.pids = now, map[int]bool{}
		s.err = addTracers(os.Getpid(), s.pids)
	}
	return s.pids, s.err
}

// addTracers adds the processes that trace a thread of a process, and those that trace a thread of
// these.
func addTracers(pid int, found map[int]bool) error {
	d, err := procfs.Open(procfs.Root, pid)
	if err != nil {
		return endedTracer(err)
	}
	defer d.Close()
	var tracers []int
	_, err = d.EachTask(func(tid int) error {
		s, err := d.Status(tid)
		if err == nil && s.Tracer != 0 {
			tracers = append(tracers, s.Tracer)
		}
		return endedTracer(err)
	})
	if err != nil {
		return endedTracer(err)
	}
	for _, tid := range tracers {
		group, err := groupOf(tid)
		if err != nil || found[group] || group == 0 || group == os.Getpid() {
			if err != nil {
				return err
			}
			continue
		}
		found[group] = true
		if err := addTracers(group, found); err != nil {
			return err
		}
	}
	return nil
}

// groupOf returns the process that a thread belongs to; 0 if it has ended.
func groupOf(tid int) (int, error) {
	d, err := procfs.Open(procfs.Root, tid) // it opens a thread by its number, too
	if err != nil {
		return 0, endedTracer(err)
	}
	defer d.Close()
	s, err := d.Status(0)
	if err != nil {
		return 0, endedTracer(err)
	}
	return s.Group, nil
}

// endedTracer makes nil of the error of a thread or process that has ended: it traces nobody any
// more.
func endedTracer(err error) error {
	if errors.Is(err, procfs.ErrGone) {
		return nil
	}
	return err
}
