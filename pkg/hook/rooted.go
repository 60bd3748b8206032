package hook

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the number of symbolic links that one path may have, as in the kernel.
const maxLinks = 40

// openat2 is unix.Openat2, for tests.
var openat2 = unix.Openat2

// openRooted opens a path with O_PATH as a process with the given root directory would resolve it:
// absolute links start at that root, and nothing leads out of it. Links in proc that stand for open
// files are not followed.
func openRooted(root int, path string) (fd int, err error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for range maxLinks {
		fd, err = openat2(root, path, how)
		// something was moved meanwhile
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	// Linux before 5.6, or a filter that only knows older kernels
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return walkRooted(root, path)
	}
	return fd, err
}

// walkRooted resolves the path component by component.
func walkRooted(root int, path string) (int, error) {
	at := []int{} // the directories from below the root down to the current one
	defer func() {
		for _, fd := range at {
			_ = unix.Close(fd)
		}
	}()
	here := func() int {
		if len(at) == 0 {
			return root
		}
		return at[len(at)-1]
	}
	rest, links := strings.Split(path, "/"), 0
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			if len(at) > 0 {
				_ = unix.Close(here())
				at = at[:len(at)-1]
			}
			continue
		}
		fd, err := unix.Openat(here(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		at = append(at, fd)
		text, isLink, err := linkText(fd)
		if err != nil {
			return -1, err
		}
		if !isLink {
			continue
		}
		if links++; links > maxLinks {
			return -1, unix.ELOOP
		}
		_ = unix.Close(fd)
		at = at[:len(at)-1]
		if strings.HasPrefix(text, "/") {
			for _, fd := range at {
				_ = unix.Close(fd)
			}
			at = at[:0]
		}
		rest = append(strings.Split(text, "/"), rest...)
	}
	return unix.FcntlInt(uintptr(here()), unix.F_DUPFD_CLOEXEC, 0)
}

// linkText returns the target of an open symbolic link, and whether it is one.
func linkText(fd int) (text string, isLink bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", false, err
	}
	var b [unix.PathMax]byte
	n, err := unix.Readlinkat(fd, "", b[:])
	if err == nil && n == len(b) {
		err = unix.ENAMETOOLONG
	}
	return string(b[:max(n, 0)]), true, err
}

// plain returns an error if a path below a root directory refers to another file for a process with
// that root than for this one, as it does with an absolute link in it: data meant for that system
// would be read from, or written to, this one.
func plain(root, path string) error {
	if root == "/" {
		return nil
	}
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", root, err)
	}
	defer func() { _ = unix.Close(fd) }()
	name := filepath.Join(root, path)
	var theirs, ours unix.Stat_t
	file, err := openRooted(fd, path)
	if err == nil {
		err = unix.Fstat(file, &theirs)
		_ = unix.Close(file)
	}
	ourErr := unix.Stat(name, &ours)
	switch {
	case errors.Is(err, unix.ENOENT) && errors.Is(ourErr, unix.ENOENT):
		return nil
	case err != nil || ourErr != nil || newFileID(&theirs) != newFileID(&ours):
		return fmt.Errorf("%s: an absolute link leads out of the running system's root: it is "+
			"not followed", name)
	}
	return nil
}
