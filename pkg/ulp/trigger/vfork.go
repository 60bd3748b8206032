package trigger

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// ErrVfork says that a process still has the memory of its parent, which stands still until it executes a program or ends.
// What it is patched with would be its parent's.
var ErrVfork = errors.New("the process shares the memory of its parent (vfork)")

const kcmpVM = 1 // KCMP_VM of kcmp(2)

// vforked returns an AgainError with ErrVfork for a process that has the memory of its parent. Where the kernel does not
// tell, it returns nil.
func vforked(p *process.Process) error {
	if p.ParentPID <= 0 {
		return nil
	}
	equal, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(p.PID), uintptr(p.ParentPID), kcmpVM, 0, 0, 0)
	if errno == 0 && equal == 0 {
		return &AgainError{Err: ErrVfork}
	}
	return nil
}
