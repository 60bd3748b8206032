package tracer

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"
)

// kernelSide are flags of a thread that the kernel made for itself in a process (PF_IO_WORKER of Linux 5.12, PF_USER_WORKER of
// 6.4). Other kernels use the same bits for something else, so the thread's name counts as well.
const kernelSide = 0x10 | 0x4000

// kernelSideNames are how the kernel calls such threads.
var kernelSideNames = [][]byte{[]byte("iou-wrk-"), []byte("iou-sqp-"), []byte("iou-mgr-"), []byte("vhost-")}

// kernelSide says whether a thread is one of the kernel's own in this process, which works for io_uring or for a virtual
// machine's devices. It never runs the program's code, so it need not stand still, and it must not be disturbed: the file that
// it is just opening, say, would not be opened. The first thread of a process is never such a one.
func (t *Tracee) kernelSide(tid int) bool {
	if tid == t.pid {
		return false
	}
	var room [64]byte
	name, err := t.dir.readInto(room[:], tid, "comm")
	if err != nil || !slices.ContainsFunc(kernelSideNames, func(n []byte) bool { return bytes.HasPrefix(name, n) }) {
		return false
	}
	return statFlags(t.dir.stat(tid))&kernelSide != 0
}

// leaveAlone lets go of a stopped thread that turned out to be one of the kernel's, which has its name when it first runs. It
// has no place in the program.
func (t *Tracee) leaveAlone(th *Thread) error {
	t.aside = true
	if err := ptrace(unix.PTRACE_DETACH, th.TID, 0); err != nil {
		return t.fail("detaching", th.TID, t.lost(th, err))
	}
	t.left--
	t.bury(th)
	return nil
}

// nowhere says that the registers are those of a thread that never runs a program's code.
func (r *Registers) nowhere() bool { return r.pc() == 0 && r.sp() == 0 }
