package procfs

import (
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Root is where proc is usually mounted.
const Root = "/proc"

// maxPath bounds what is kept of a path, in bytes.
const maxPath = 4096

// Dir is an open /proc/PID, or the directory of one thread in it. It belongs to the task and not to
// the number: once the task is gone, nothing can be read through it, even if the number was given
// to another one.
type Dir struct {
	fd     int
	others atomic.Int32 // handles of it, besides the first one
	root   string
	pid    int
	thread bool // of one thread
}

// Open opens the directory of a process in the proc file system that is mounted at root.
func Open(root string, pid int) (*Dir, error) {
	name := strconv.Itoa(pid)
	if pid <= 0 {
		return nil, &Error{File: name, Err: ErrGone}
	}
	fd, err := OpenAt(unix.AT_FDCWD, filepath.Join(root, name), unix.O_PATH|unix.O_DIRECTORY)
	switch {
	case err == nil:
		return &Dir{fd: fd, root: root, pid: pid}, nil
	case errors.Is(err, unix.ENOENT) && !exists(filepath.Join(root, "self")):
		return nil, &Error{File: root, Err: ErrNoProc}
	case errors.Is(err, unix.ENOENT) && !errors.Is(unix.Kill(pid, 0), unix.ESRCH):
		err = ErrPermission // a proc with the option hidepid
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		err = ErrGone
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		err = ErrPermission
	}
	return nil, &Error{File: "its directory in proc", Err: err}
}

// PID returns the number that the process was opened by.
func (d *Dir) PID() int { return d.pid }

// Share returns another handle of the open directory. Each handle is closed once; the last one
// closes the directory.
func (d *Dir) Share() *Dir {
	d.others.Add(1)
	return d
}

// Close closes the directory, if no other handle of it is left.
func (d *Dir) Close() {
	if d.others.Add(-1) < 0 {
		_ = unix.Close(d.fd)
	}
}

// Thread opens the directory of one of the process's threads.
func (d *Dir) Thread(tid int) (*Dir, error) {
	name := TaskFile(tid, "")
	fd, err := OpenAt(d.fd, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, d.fail(name, err)
	}
	return &Dir{fd: fd, root: d.root, pid: d.pid, thread: true}, nil
}

// TaskFile returns the name of a file of a thread, from the directory of the process; of the
// process itself if tid is 0.
func TaskFile(tid int, file string) string {
	if tid == 0 {
		return file
	}
	return "task/" + strconv.Itoa(tid) + "/" + file
}

// splitTask is the reverse of TaskFile.
func splitTask(name string) (task, file string) {
	if rest, ok := strings.CutPrefix(name, "task/"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			i += len("task/") + 1
			return name[:i], name[i:]
		}
	}
	return "", name
}

// ReadOnly is for Open. What stands in place of a file of proc, in a directory that is none, does
// not block.
const ReadOnly = unix.O_RDONLY | unix.O_NONBLOCK

// Open opens a file.
func (d *Dir) Open(name string, flags int) (File, error) {
	fd, err := OpenAt(d.fd, name, flags)
	return File(fd), d.fail(name, err)
}

// Link returns what a symbolic link reads, cut off after 4,096 bytes.
func (d *Dir) Link(name string) (string, error) {
	for b := make([]byte, 128); ; b = make([]byte, maxPath) { // most are short
		n, err := unix.Readlinkat(d.fd, name, b)
		if err != nil {
			return "", d.fail(name, err)
		}
		if n < len(b) || n == maxPath {
			return string(b[:n]), nil
		}
	}
}

// Read returns a whole small file in b; ErrLimit if it does not fit.
func (d *Dir) Read(name string, b []byte) ([]byte, error) {
	text, err := d.slurp(name, b)
	return text, d.fail(name, err)
}

// slurp is Read with the kernel's errors.
func (d *Dir) slurp(name string, b []byte) ([]byte, error) {
	fd, err := OpenAt(d.fd, name, ReadOnly)
	if err != nil {
		return nil, err
	}
	f := File(fd)
	defer f.Close()
	n, err := f.Read(b) // the kernel makes all of it at the first read
	switch {
	case err == nil && n == len(b):
		return nil, ErrLimit
	case err == nil, errors.Is(err, io.EOF):
		return b[:n], nil
	}
	return nil, err
}

// Lines calls f with each line of a file, as [EachLine] does.
func (d *Dir) Lines(name string, f func(line []byte) error) error {
	r, err := d.Open(name, ReadOnly)
	if err != nil {
		return err
	}
	defer r.Close()
	return d.fail(name, EachLine(r, f))
}

// File is an open file of proc, read without Go's poller, which would only cost time.
type File int

func (f File) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Close closes the file.
func (f File) Close() { _ = unix.Close(int(f)) }

// OpenAt opens a file of proc, and nothing that it points to.
func OpenAt(at int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// absent reports whether this process has no such file either. It does not follow a link: that
// would ask for what it points to.
func absent(root, file string) bool {
	return !exists(filepath.Join(root, "self", file)) && exists(filepath.Join(root, "self"))
}

// exists reports whether there is something of that name, or that cannot be told.
func exists(name string) bool {
	var st unix.Stat_t
	err := unix.Lstat(name, &st)
	return !errors.Is(err, unix.ENOENT)
}
