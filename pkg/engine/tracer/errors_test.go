package tracer

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestErrorText: what people read has no names of packages in it, and no numbers of system calls.
func TestErrorText(t *testing.T) {
	for want, err := range map[string]error{
		"process 5: another process traces it (process 9)": &Error{
			PID: 5, TID: 5, Tracer: 9, Err: ErrTraced},
		"process 5, thread 7: attaching: not permitted to trace the process": &Error{
			PID: 5, TID: 7, Op: "attaching", Err: ErrPermission},
		"process 5: the system call memfd_create: the system call filter forbids it": &Error{
			PID: 5, Op: callName(unix.SYS_MEMFD_CREATE), Err: ErrSeccomp},
		"process 5: system call 4095: the called function raised a signal (signal 11)": &Error{
			PID: 5, Op: callName(4095), Signal: 11, Err: ErrFault},
		"process 5: the system call rt_sigreturn: the process executed another program": &Error{
			PID: 5, Op: callName(sysSigreturn), Err: ErrExec},
		"process 5: the system call newfstatat: no such instructions in the target": &Error{PID: 5,
			Op: callName(unix.SYS_NEWFSTATAT), Err: ErrGadget},
		"process 5: the system call ftruncate: no memory is known to be unused": &Error{PID: 5,
			Op: callName(unix.SYS_FTRUNCATE), Err: ErrStack},
		"process 5: the system call munmap: a thread does not stop": &Error{PID: 5,
			Op: callName(unix.SYS_MUNMAP), Err: ErrNotStopping},
	} {
		if got := err.Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
