package tracer

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct, of 64-bit architectures.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const (
	sigIgn      = 1 // and 0 is SIG_DFL
	saNoCldStop = 1
)

// suppressStopSIGCHLD tells the kernel, once, not to send this process SIGCHLD when a thread that
// it traces stops: the signal interrupts the wait for that very stop, and its handler takes
// longer than looking at the stop. Stops are looked for here, and nothing in Go's runtime or in
// os/exec waits for that signal. Those of children that end are sent as ever.
var suppressStopSIGCHLD = sync.OnceFunc(func() {
	var sa sigaction
	const size, signal = unsafe.Sizeof(sa.mask), uintptr(unix.SIGCHLD)
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, signal, 0, uintptr(unsafe.Pointer(&sa)),
		size, 0, 0)
	if e != 0 || sa.handler <= sigIgn {
		return // nobody is interrupted
	}
	sa.flags |= saNoCldStop
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(&sa)), 0, size,
		0, 0)
})
