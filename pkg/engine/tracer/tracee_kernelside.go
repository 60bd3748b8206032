package tracer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// kernelSide are flags of a thread that the kernel made for itself in a process, and the release
// from which on they mean nothing else: PF_IO_WORKER and PF_USER_WORKER. Releases before have the
// same bits for something else, and some of them the flags as well; there, the thread's name counts
// too.
var kernelSide = []struct {
	flag         uint64
	major, minor int
}{{0x10, 5, 12}, {0x4000, 6, 4}}

// kernelSideNames are how the kernel calls such threads, from when they first run.
var kernelSideNames = []string{"iou-wrk-", "iou-sqp-", "iou-mgr-", "vhost-"}

// kernelSide reports whether a thread is one of the kernel's own in this process, which works for
// io_uring or for a virtual machine's devices. It never runs the program's code, so it need not
// stand still, and it must not be disturbed: the file that it is just opening, say, would not be
// opened. The first thread of a process is never such a one.
func (t *Tracee) kernelSide(tid int) (bool, error) {
	if tid == t.pid {
		return false, nil
	}
	s, err := t.dir.Stat(tid)
	if errors.Is(err, ErrGone) {
		return false, nil // that is noticed when it is to be seized
	}
	if err != nil {
		return false, err
	}
	major, minor := kernelRelease()
	for _, k := range kernelSide {
		switch {
		case s.Flags&k.flag == 0:
		case major > k.major || major == k.major && minor >= k.minor:
			return true, nil
		default:
			return slices.ContainsFunc(kernelSideNames, func(n string) bool {
				return strings.HasPrefix(s.Name, n)
			}), nil
		}
	}
	return false, nil
}

// kernelRelease returns the first two numbers of the kernel's release; 0 if it has none, and the
// names count.
var kernelRelease = sync.OnceValues(func() (major, minor int) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	return major, minor
})

// leaveAlone lets go of a stopped thread that turned out to be one of the kernel's, where that is
// known by its name only. It has no place in the program.
func (t *Tracee) leaveAlone(th *Thread) error {
	t.partial = true
	if err := ptrace(unix.PTRACE_DETACH, th.TID, 0); err != nil {
		return t.fail("detaching", th.TID, t.lost(th, err))
	}
	t.left--
	t.markExited(th)
	return nil
}

// nowhere says that the registers are those of a thread that never runs a program's code.
func (r *Registers) nowhere() bool { return r.pc() == 0 && r.sp() == 0 }
