package tracer

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ptraceOptions are set on every thread. TRACESYSGOOD is part of crash safety (see the package
// comment); EXITKILL would be the opposite of it.
const ptraceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEEXEC

// ptrace is the raw call. None of the requests made with it sleeps, so the scheduler need not know
// of it.
func ptrace(req, tid int, data uintptr) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), 0, data, 0,
		0); e != 0 {
		return e
	}
	return nil
}

// ptraceSleeping is ptrace for requests that may sleep.
func ptraceSleeping(req, tid int, data uintptr) error {
	if _, _, e := unix.Syscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), 0, data, 0,
		0); e != 0 {
		return e
	}
	return nil
}

// ptracePointer is ptrace with a pointer as its data.
func ptracePointer(req, tid int, addr uintptr, data unsafe.Pointer) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(req), uintptr(tid), addr, uintptr(data),
		0, 0); e != 0 {
		return e
	}
	return nil
}

// regset reads or writes (PTRACE_GETREGSET, PTRACE_SETREGSET) a register set and returns how many
// bytes it has.
func regset(req, tid, note int, b []byte) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(b), Len: uint64(len(b))}
	err := ptracePointer(req, tid, uintptr(note), unsafe.Pointer(&iov))
	return int(iov.Len), err
}

// signalMask reads the mask that a thread has in user space: inside sigsuspend and the like the one
// it will get back.
func signalMask(tid int) (uint64, error) {
	var m uint64
	err := ptracePointer(unix.PTRACE_GETSIGMASK, tid, unsafe.Sizeof(m), unsafe.Pointer(&m))
	return m, err
}

func setSignalMask(tid int, m uint64) error {
	return ptracePointer(unix.PTRACE_SETSIGMASK, tid, unsafe.Sizeof(m), unsafe.Pointer(&m))
}

// siginfo is the part of the kernel's siginfo_t that is looked at.
type siginfo struct {
	signo, errno, code int32
	_                  int32
	pid, uid           int32
	status             int32
	_                  [100]byte
}

// stopSignal reads what a thread in a signal-delivery-stop is about to get.
func stopSignal(tid int) (siginfo, error) {
	var si siginfo
	err := ptracePointer(unix.PTRACE_GETSIGINFO, tid, 0, unsafe.Pointer(&si))
	return si, err
}

// pendingSignals reads signals that are queued for the thread itself, as many as si has room for,
// without taking them.
func pendingSignals(tid int, si []siginfo) ([]siginfo, error) {
	args := struct {
		off       uint64
		flags, nr uint32
	}{nr: uint32(len(si))}
	n, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_PEEKSIGINFO, uintptr(tid),
		uintptr(unsafe.Pointer(&args)), uintptr(unsafe.Pointer(&si[0])), 0, 0)
	if e != 0 {
		return nil, e
	}
	return si[:n], nil
}
