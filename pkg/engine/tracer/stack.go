package tracer

import "golang.org/x/sys/unix"

// stackRead and stackWrite go through process_vm_readv and process_vm_writev, which honour page
// protection: a sigframe must not land in a guard page, where /proc/PID/mem would put it without a
// word.
func stackRead(tid int, addr uint64, b []byte) error {
	n, err := unix.ProcessVMReadv(tid, []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}},
		[]unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err == nil && n != len(b) {
		err = unix.EFAULT
	}
	return err
}

func stackWrite(tid int, addr uint64, b []byte) error {
	n, err := unix.ProcessVMWritev(tid, []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}},
		[]unix.RemoteIovec{{Base: uintptr(addr), Len: len(b)}}, 0)
	if err == nil && n != len(b) {
		err = unix.EFAULT
	}
	return err
}
