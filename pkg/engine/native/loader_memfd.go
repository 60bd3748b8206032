package native

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// memfdLoader maps a memory file that the process makes.
type memfdLoader struct{}

func (memfdLoader) name() string { return "memfd" }
func (memfdLoader) zeroed() bool { return true }

// applies returns an error unless the process may make files as large as a memory file. The kernel
// sends SIGXFSZ to one that tries. Asking it with prlimit(2) would need CAP_SYS_RESOURCE where the
// process is another user's.
func (memfdLoader) applies(x *executor) error {
	limit, err := fileSizeLimit(x.p.PID)
	if err != nil {
		return fmt.Errorf("its limit of file sizes is unknown: %w: %w", ErrRefused, err)
	}
	if slices.ContainsFunc(x.regions, func(rg *region) bool { return rg.size > limit }) {
		return fmt.Errorf("a memory file: its limit of file sizes is %d bytes (ulimit -f): %w",
			limit, ErrRefused)
	}
	return nil
}

func fileSizeLimit(pid int) (soft uint64, err error) {
	dir, err := procfs.Open(procfs.Root, pid)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	soft, _, err = dir.Limit(pid, procfs.LimitFileSize)
	return soft, err
}

func (memfdLoader) mapRegion(s *script, rg *region) {
	file := len(s.calls)
	c := s.add("a memory file", call(unix.SYS_MEMFD_CREATE, 0, unix.MFD_CLOEXEC))
	c.opens = true
	s.points(c, 1, "lpbuild:")
	c = s.add("sizing the memory file", call(unix.SYS_FTRUNCATE, 0, rg.size))
	c.Arg, c.From = 1, file
	s.mmapFile(rg, extent{0, rg.size}, readExec, unix.MAP_FIXED_NOREPLACE, file, 0).maps = true
	for _, e := range rg.writable {
		s.mmapFile(rg, e, readWrite, unix.MAP_FIXED, file, e.off)
	}
	s.closes(file)
}

// check returns an error unless all of each region is mapped from a memory file: a process that
// shares its descriptors with another one may have found another file in its place.
func (memfdLoader) check(x *executor) error {
	x.step("check")
	maps, err := x.mappings()
	if err != nil {
		return err
	}
	for _, m := range maps {
		if !strings.HasPrefix(m.Path, memoryPrefix) || m.File.Dev != memoryDevice() {
			return fmt.Errorf("the mapping is not known to be a memory file: %w", ErrRefused)
		}
	}
	return nil
}

// memoryDevice is the device that all memory files are on.
var memoryDevice = sync.OnceValue(func() uint64 {
	var st unix.Stat_t
	fd, err := unix.MemfdCreate("lpbuild:", unix.MFD_CLOEXEC)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	if unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Dev
})
