package tracer

import "unsafe"

// getDispatch is PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG.
const getDispatch = 0x4211

// dispatchConfig is what it writes.
type dispatchConfig struct{ mode, selector, offset, size uint64 }

// dispatched says whether system calls that a thread makes by way of the gadgets may go to the program instead of the kernel, as
// a SIGSYS (PR_SET_SYSCALL_USER_DISPATCH: Wine, emulators). Then the way back would, too. What the selector says now is not
// asked: the thread has to come back whatever others write there. Kernels before 6.4 do not tell.
func (t *Tracee) dispatched(tid int) bool {
	var c dispatchConfig
	if ptracePointer(getDispatch, tid, unsafe.Sizeof(c), unsafe.Pointer(&c)) != nil || c.mode == 0 {
		return false
	}
	for _, nr := range []uint64{0, sysSigreturn} {
		if t.o.Gadgets.afterSyscall(nr)-c.offset >= c.size {
			return true
		}
	}
	return false
}
