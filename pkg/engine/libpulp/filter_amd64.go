package libpulp

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// loading are the system calls that dlopen makes, in any version of glibc, and unloading those of
// dlclose. Filters may ask for arguments, so they are as dlopen has them, but for addresses and the
// descriptor, which cannot be known.
var (
	loading = append([]tracer.Call{
		{Nr: unix.SYS_OPENAT, Args: [6]uint64{cwd, 0, unix.O_RDONLY | unix.O_CLOEXEC}},
		{Nr: unix.SYS_READ, Args: [6]uint64{descriptor, 0, 832}},
		{Nr: unix.SYS_PREAD64, Args: [6]uint64{descriptor, 0, 784, 64}},
		{Nr: unix.SYS_FSTAT, Args: [6]uint64{descriptor}},
		{Nr: unix.SYS_NEWFSTATAT, Args: [6]uint64{descriptor, 0, 0, unix.AT_EMPTY_PATH}},
		{Nr: unix.SYS_MMAP, Args: [6]uint64{0, size, unix.PROT_READ,
			unix.MAP_PRIVATE | unix.MAP_DENYWRITE, descriptor}},
		{Nr: unix.SYS_MMAP, Args: [6]uint64{page, size, unix.PROT_READ | unix.PROT_EXEC,
			fixed | unix.MAP_DENYWRITE, descriptor, page}},
		{Nr: unix.SYS_MMAP, Args: [6]uint64{page, size, unix.PROT_READ | unix.PROT_WRITE,
			fixed | unix.MAP_DENYWRITE, descriptor, page}},
		{Nr: unix.SYS_MMAP, Args: [6]uint64{page, size, unix.PROT_READ | unix.PROT_WRITE,
			fixed | unix.MAP_ANONYMOUS, none}},
		{Nr: unix.SYS_MPROTECT, Args: [6]uint64{page, size, unix.PROT_READ}},
		{Nr: unix.SYS_CLOSE, Args: [6]uint64{descriptor}},
		{Nr: unix.SYS_BRK},
	}, unloading...)
	unloading = []tracer.Call{{Nr: unix.SYS_MUNMAP, Args: [6]uint64{page, size}}}
)

const (
	descriptor = 3
	page, size = 4096, 16384
	fixed      = unix.MAP_PRIVATE | unix.MAP_FIXED
	none       = 1<<64 - 1
	cwd        = 1<<64 + unix.AT_FDCWD
)

// allowed returns an error unless the filters of the thread that will call libpulp.so let it make
// the calls. One that they kill the process for would be its end.
func (s *Session) allowed(calls []tracer.Call) error {
	if s.thread == nil {
		s.thread = s.t.Pick()
	}
	if err := s.t.Allowed(s.thread, calls...); err != nil {
		return fmt.Errorf("libpulp.so would load or unload the live patch by itself: %w", err)
	}
	return nil
}
