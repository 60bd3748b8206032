package tracer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Seccomp is how a thread's system calls are filtered.
type Seccomp int

// The modes as the kernel counts them.
const (
	SeccompNone   Seccomp = 0 // not filtered
	SeccompStrict Seccomp = 1 // read, write, exit, rt_sigreturn; anything else kills
	SeccompFilter Seccomp = 2 // by programs: they may allow, deny, raise SIGSYS, or kill
)

// ErrFilter means that a thread's filter cannot be read, so that what it allows is unknown: reading
// needs CAP_SYS_ADMIN, and no filter of one's own.
var ErrFilter = errors.New("the filter cannot be read: that needs root without a filter of its own")

// callName is how a system call is named in messages.
func callName(nr uint64) string {
	if name, ok := callNames[nr]; ok {
		return "the system call " + name
	}
	return fmt.Sprintf("system call %d", nr)
}

// callNames are the system calls that the engines make in a process, or have libpulp.so make.
// Package unix has their numbers only.
var callNames = map[uint64]string{
	unix.SYS_BRK:          "brk",
	unix.SYS_CLOSE:        "close",
	unix.SYS_FSTAT:        "fstat",
	unix.SYS_FTRUNCATE:    "ftruncate",
	unix.SYS_MEMFD_CREATE: "memfd_create",
	unix.SYS_MMAP:         "mmap",
	unix.SYS_MPROTECT:     "mprotect",
	unix.SYS_MUNMAP:       "munmap",
	unix.SYS_NEWFSTATAT:   "newfstatat",
	unix.SYS_OPENAT:       "openat",
	unix.SYS_PREAD64:      "pread64",
	unix.SYS_READ:         "read",
	unix.SYS_RT_SIGRETURN: "rt_sigreturn",
}

const (
	filterMost = 4096 // instructions of a filter, the kernel's limit
	// the kernel allows 32,768 instructions in all, but counts four more for each filter
	filtersMost      = 1024
	seccompGetFilter = 0x420c
)

// filtersOf reads a stopped thread's filters. It needs CAP_SYS_ADMIN, and a process that has no
// filter itself.
func filtersOf(tid int) (filters [][]unix.SockFilter, err error) {
	for i := range filtersMost {
		n, _, e := unix.RawSyscall6(unix.SYS_PTRACE, seccompGetFilter, uintptr(tid), uintptr(i), 0,
			0, 0)
		if errors.Is(e, unix.ENOENT) && i > 0 {
			return filters, nil
		}
		if e != 0 {
			return nil, e
		}
		if n == 0 || n > filterMost {
			return nil, fmt.Errorf("%d instructions: %w", n, unix.E2BIG)
		}
		f := make([]unix.SockFilter, n)
		if err := ptracePointer(seccompGetFilter, tid, uintptr(i),
			unsafe.Pointer(&f[0])); err != nil {
			return nil, err
		}
		filters = append(filters, f)
	}
	return nil, unix.E2BIG
}

// judge returns what the filters together answer to a call: the kernel takes the strictest of their
// actions.
func judge(filters [][]unix.SockFilter, c Call, g Gadgets) uint32 {
	var data [64]byte // struct seccomp_data
	ne := binary.NativeEndian
	ne.PutUint32(data[0:], uint32(c.Nr))
	ne.PutUint32(data[4:], auditArch)
	ne.PutUint64(data[8:], g.afterSyscall(c.Nr))
	for i, a := range c.Args {
		ne.PutUint64(data[16+8*i:], a)
	}
	verdict := uint32(unix.SECCOMP_RET_ALLOW)
	for _, f := range filters {
		action := runFilter(f, data[:]) & unix.SECCOMP_RET_ACTION_FULL
		if int32(action) < int32(verdict) {
			verdict = action
		}
	}
	return verdict
}
