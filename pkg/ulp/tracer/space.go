package tracer

import (
	"os"
	"strconv"
)

// space is an address space of the process, opened.
//
// It is opened when a thread has been seized and before any is interrupted, so that nobody stands still for it. It still
// is the one when that thread stands still: what changes a thread's address space is exec alone. If the thread itself
// executes, it stops for that (PTRACE_O_TRACEEXEC); if another thread does, this one ends. Before the seize nothing like
// that holds: a child of vfork has its parent's memory until it executes.
type space struct {
	of    *Thread // through which it was opened; nil: it is not open
	mem   *os.File
	maps  *os.File
	stack uint64 // where the first thread's stack began when it was opened, which a privileged process may change
}

// openSpace opens the address space of a thread that is seized.
func (t *Tracee) openSpace(th *Thread) (s space, err error) {
	if s.mem, err = t.dir.open(taskFile(th.TID, "mem"), os.O_RDWR); err != nil {
		return space{}, err
	}
	if s.maps, err = t.dir.open(taskFile(th.TID, "maps"), os.O_RDONLY); err != nil {
		s.mem.Close()
		return space{}, err
	}
	s.of, s.stack = th, t.startStack(th.TID)
	return s, nil
}

func (s *space) close() {
	if s.of != nil {
		s.mem.Close()
		s.maps.Close()
	}
	*s = space{}
}

// startStack is where the kernel says that the first thread's stack began; 0 if it does not say.
func (t *Tracee) startStack(tid int) uint64 {
	const field = 28 - 3
	s := t.dir.stat(tid)
	if len(s) <= field {
		return 0
	}
	start, err := strconv.ParseUint(string(s[field]), 10, 64)
	if err != nil {
		return 0
	}
	return start
}
