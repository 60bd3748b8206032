package tracer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// space is an address space of the process, opened.
//
// It is opened when a thread has been seized and before any is interrupted, so that no thread
// is stopped for it. It still is the one when that thread is stopped: what changes a thread's
// address space is exec alone. If the thread itself executes, it stops for that
// (PTRACE_O_TRACEEXEC); if another thread does, this one ends. Before the seize nothing like that
// holds: a child of vfork has its parent's memory until it executes.
type space struct {
	of      *Thread // through which it was opened; nil: it is not open
	mem     *os.File
	maps    *os.File
	pagemap *os.File // nil: the kernel has none
	status  *os.File // of that thread
	// where the first thread's stack began when it was opened, which a privileged process may
	// change
	stack uint64
	// of the mapping that it is in; 0 if that is not known to be one that grows downwards
	stackEnd uint64
}

// warm reads what will be read again under the stop: what is read the second time takes a third of
// the time.
func (s *space) warm(g Gadgets) {
	if g.usable() {
		_ = g.verify(s.mem)
		var b [4096]byte
		_, _ = unix.Pread(int(s.status.Fd()), b[:], 0)
	}
}

// growingEnd returns the end of the first thread's stack if that is a mapping which grows
// downwards, as the kernel makes it, and not another one that took its place. The size of all such
// mappings together is in the status; it is another one if there are several, or if the stack has
// just grown.
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

// procmapQuery is the argument of PROCMAP_QUERY (Linux 6.11), up to what is of use here.
type procmapQuery struct {
	size, flags, addr uint64
	start, end        uint64
	_, _, _, _, _     uint64 // what else the mapping is
	nameSize, idSize  uint32
	nameAddr, idAddr  uint64
}

// errUnmapped says that nothing is mapped at an address or above.
var errUnmapped = errors.New("nothing is mapped there")

// initialStack returns the mapping that an address is in if the kernel calls it the first thread's
// stack.
func (s *space) initialStack(addr uint64) (Range, bool) {
	const want = "[stack]\x00"
	var name [len(want)]byte
	var pin runtime.Pinner
	pin.Pin(&name)
	defer pin.Unpin()
	q := procmapQuery{addr: addr, nameSize: uint32(len(name)),
		nameAddr: uint64(uintptr(unsafe.Pointer(&name)))}
	switch e := s.query(&q); {
	case e == 0:
		return Range{q.start, q.end}, string(name[:]) == want
	case errors.Is(e, unix.ENOENT), errors.Is(e, unix.ENAMETOOLONG):
		return Range{}, false
	}
	if _, err := s.maps.Seek(0, io.SeekStart); err != nil {
		return Range{}, false
	}
	r, path, err := findMapping(s.maps, addr)
	return r, err == nil && r.Start <= addr && path == "[stack]"
}

// query asks the kernel for a mapping. Any other error than ENOENT and ENAMETOOLONG is that of a
// kernel that cannot tell.
func (s *space) query(q *procmapQuery) unix.Errno {
	q.size = uint64(unsafe.Sizeof(*q))
	_, _, e := unix.Syscall(unix.SYS_IOCTL, s.maps.Fd(), procmapRequest, uintptr(unsafe.Pointer(q)))
	return e
}

// findMapping is mapping for older kernels: it looks through the whole list. path is what that says
// after the numbers.
func findMapping(f io.Reader, addr uint64) (r Range, path string, err error) {
	err = procfs.EachMapping(f, func(m *procfs.Mapping) error {
		if addr >= m.End {
			return nil
		}
		r, path = Range{m.Start, m.End}, string(m.Path)
		return procfs.ErrStop
	})
	if err == nil && r == (Range{}) {
		err = errUnmapped
	}
	return r, path, err
}

const (
	procmapRequest = 0xc0686611
	procmapNext    = 0x10 // or the next one above
)
