package engine

import "golang.org/x/sys/unix"

// MaySuspendSeccomp reports whether this process may suspend the filters of others
// (PTRACE_O_SUSPEND_SECCOMP): that takes CAP_SYS_ADMIN, and no filter of its own. Whether the
// kernel can is seen with the first process.
func MaySuspendSeccomp() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return false
	}
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return err == nil && mode == 0
}
