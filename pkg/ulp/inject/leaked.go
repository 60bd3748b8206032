package inject

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxFiles is about how many descriptors are looked at.
const maxFiles = 4096

// leakedFiles returns the descriptors of memory files of ours that are open in a process. It goes without [os.File], whose
// poller has nothing to do here.
func leakedFiles(pid int) map[int]bool {
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(dir) }()
	var list map[int]bool
	var entries [4096]byte
	for seen := 0; seen < maxFiles; {
		n, err := unix.ReadDirent(dir, entries[:])
		if err != nil || n <= 0 {
			return list
		}
		_, _, names := unix.ParseDirent(entries[:n], -1, nil)
		seen += len(names)
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil && linksToOurs(dir, name) {
				if list == nil {
					list = map[int]bool{}
				}
				list[fd] = true
			}
		}
	}
	return list
}

func isLeaked(pid, fd int) bool {
	return linksToOurs(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/fd/%d", pid, fd))
}

// linksToOurs says whether what a link below /proc leads to is a memory file of ours.
func linksToOurs(dir int, name string) bool {
	var link [len(memoryPrefix)]byte
	n, err := unix.Readlinkat(dir, name, link[:])
	return err == nil && string(link[:n]) == memoryPrefix
}

// forgotten returns the descriptors of memory files that are still open, now that the process stands still.
func (r *run) forgotten() []int {
	var list []int
	for _, fd := range slices.Sorted(maps.Keys(r.leaked)) {
		if isLeaked(r.p.PID, fd) {
			list = append(list, fd)
		}
	}
	return list
}
