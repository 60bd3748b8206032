package native

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxFiles is about how many descriptors are looked at.
const maxFiles = 4096

// leakedFiles returns the descriptors that a killed engine left open in a process: of memory files
// and of containers. It goes without [os.File], whose poller has nothing to do here.
func leakedFiles(pid int) map[int]bool {
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/fd",
		unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(dir) }()
	var list map[int]bool
	var entries [4096]byte
	var link [maxFilePath + 16]byte
	for seen := 0; seen < maxFiles; {
		n, err := unix.ReadDirent(dir, entries[:])
		if err != nil || n <= 0 {
			return list
		}
		_, _, names := unix.ParseDirent(entries[:n], -1, nil)
		seen += len(names)
		for _, name := range names {
			if fd, err := strconv.Atoi(name); err == nil &&
				isOurs(pid, fd, linkOf(dir, name, link[:])) {
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
	var link [maxFilePath + 16]byte
	to := linkOf(unix.AT_FDCWD, fmt.Sprintf("/proc/%d/fd/%d", pid, fd), link[:])
	return isOurs(pid, fd, to)
}

// linkOf returns what a link below /proc reads, as far as there is room for it.
func linkOf(dir int, name string, room []byte) []byte {
	n, err := unix.Readlinkat(dir, name, room)
	if err != nil {
		return nil
	}
	return room[:n]
}

// isOurs reports whether a descriptor is one of ours, by what its link reads.
func isOurs(pid, fd int, link []byte) bool {
	if bytes.HasPrefix(link, []byte(memoryPrefix)) {
		return true
	}
	return bytes.HasSuffix(bytes.TrimSuffix(link, []byte(" (deleted)")), []byte(fileSuffix)) &&
		openedAsOurs(pid, fd)
}

// openedAsOurs reports whether a descriptor was opened with the flags that only we use.
func openedAsOurs(pid, fd int) bool {
	info, err := unix.Open(fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd), unix.O_RDONLY|unix.O_CLOEXEC,
		0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(info) }()
	var text [512]byte
	n, err := unix.Read(info, text[:])
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(text[:n], []byte("flags:"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	flags, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 8, 64)
	return err == nil && flags&^largeFile == fileFlags
}

// largeFile is O_LARGEFILE, which the kernel adds.
const largeFile = 0o100000
