package tracer

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// space is an address space of the process, opened.
//
// It is opened when a thread has been seized and before any is interrupted, so that nobody stands still for it. It still
// is the one when that thread stands still: what changes a thread's address space is exec alone. If the thread itself
// executes, it stops for that (PTRACE_O_TRACEEXEC); if another thread does, this one ends. Before the seize nothing like
// that holds: a child of vfork has its parent's memory until it executes.
type space struct {
	of       *Thread // through which it was opened; nil: it is not open
	mem      *os.File
	maps     *os.File
	pagemap  *os.File // nil: the kernel has none
	status   *os.File // of that thread
	stack    uint64   // where the first thread's stack began when it was opened, which a privileged process may change
	stackEnd uint64   // of the mapping that it is in; 0 if that is not known to be one that grows downwards
}

// errDying is an ErrGone of the whole process; a thread that has ended says nothing of the others.
var errDying = fmt.Errorf("%w: a signal is ending it", ErrGone)

// openSpace opens the address space of a thread that is seized.
func (t *Tracee) openSpace(th *Thread) (s space, err error) {
	s.of = th
	stat, err := t.dir.Stat(th.TID)
	if err != nil {
		return space{}, err
	}
	if stat.Flags&procfs.FlagSignaled != 0 {
		return space{}, errDying // or it will be, when its core is dumped
	}
	if s.mem, err = t.openFile(th, "mem", os.O_RDWR); err == nil {
		s.maps, err = t.openFile(th, "maps", os.O_RDONLY)
	}
	if err == nil {
		s.status, err = t.openFile(th, "status", os.O_RDONLY)
	}
	if err != nil {
		s.close()
		return space{}, err
	}
	s.stack = stat.StartStack
	if s.pagemap, err = t.openFile(th, "pagemap", os.O_RDONLY); errors.Is(err, procfs.ErrAbsent) {
		err = nil
	}
	if err != nil {
		s.close()
		return space{}, err
	}
	s.warm(t.o.Gadgets)
	if s.stackEnd, err = s.growingEnd(t, th); err != nil {
		s.close()
		return space{}, err
	}
	return s, nil
}

// open opens a file of a thread.
func (t *Tracee) openFile(th *Thread, file string, flags int) (*os.File, error) {
	f, err := t.dir.Open(procfs.TaskFile(th.TID, file), flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(f), file), nil
}

// warm reads what will be read again under the stop: what is read the second time takes a third of the time.
func (s *space) warm(g Gadgets) {
	if g.usable() {
		_ = g.verify(s.mem)
		var b [4096]byte
		_, _ = unix.Pread(int(s.status.Fd()), b[:], 0)
	}
}

// growingEnd returns the end of the first thread's stack if that is a mapping which grows downwards, as the kernel makes it, and
// not another one that took its place. The size of all such mappings together is in the status; it is another one if there
// are several, or if the stack has just grown.
func (s *space) growingEnd(t *Tracee, th *Thread) (uint64, error) {
	stack, ok := s.initialStack(s.stack)
	if !ok {
		return 0, nil
	}
	status, err := t.dir.StatusOf(fromStart(s.status), th.TID)
	if err != nil || status.Stack == stack.End-stack.Start {
		return stack.End, err
	}
	met, grows := false, false
	err = t.dir.Lines(procfs.TaskFile(th.TID, "smaps"), func(line []byte) error {
		if flags, ok := bytes.CutPrefix(line, []byte("VmFlags:")); ok && met {
			grows = bytes.Contains(append(flags, ' '), []byte(" gd "))
			return procfs.ErrStop
		}
		var from, to uint64
		if n, _ := fmt.Sscanf(string(line), "%x-%x ", &from, &to); n == 2 {
			met = from <= s.stack && s.stack < to
		}
		return nil
	})
	if !grows {
		return 0, err
	}
	return stack.End, err
}

func (s *space) close() {
	for _, f := range []*os.File{s.mem, s.maps, s.pagemap, s.status} {
		if f != nil {
			f.Close()
		}
	}
	*s = space{}
}
