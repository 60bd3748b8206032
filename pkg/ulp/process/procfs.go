package process

import (
	"errors"
	"io"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// dir is an open /proc/PID, or the folder of one thread below it. It belongs to the process and not to the number: when
// the process is gone, everything in it is ESRCH, even if the pid was given away again.
type dir struct {
	fd  int
	pid int
}

func openDir(root string, pid int) (*dir, error) {
	if pid <= 0 {
		return nil, lookError(pid, "pid", ErrGone)
	}
	fd, err := open(unix.AT_FDCWD, filepath.Join(root, strconv.Itoa(pid)), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, lookError(pid, "its folder in proc", err)
	}
	return &dir{fd: fd, pid: pid}, nil
}

// thread opens the folder of a thread.
func (d *dir) thread(tid int) (*dir, error) {
	fd, err := open(d.fd, "task/"+strconv.Itoa(tid), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, lookError(d.pid, "thread", err)
	}
	return &dir{fd: fd, pid: d.pid}, nil
}

func (d *dir) close() { _ = unix.Close(d.fd) }

// file is an open file of /proc, read without Go's poller, which would only cost time.
type file int

func (d *dir) open(name string) (file, error) {
	fd, err := open(d.fd, name, unix.O_RDONLY|unix.O_NONBLOCK)
	return file(fd), lookError(d.pid, name, err)
}

func (f file) Read(b []byte) (int, error) {
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

func (f file) close() { _ = unix.Close(int(f)) }

// read returns a whole small file in b; ErrLimit if it does not fit. The kernel makes it at the first read.
func (d *dir) read(name string, b []byte) ([]byte, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.close()
	n, err := f.Read(b)
	switch {
	case err == nil && n == len(b):
		return nil, lookError(d.pid, name, ErrLimit)
	case err == nil, errors.Is(err, io.EOF):
		return b[:n], nil
	}
	return nil, lookError(d.pid, name, err)
}

// lines calls f with each line of a file; see eachLine.
func (d *dir) lines(name string, f func(line []byte) error) error {
	r, err := d.open(name)
	if err != nil {
		return err
	}
	defer r.close()
	buf := lineBuffers.Get().(*[maxLine]byte)
	defer lineBuffers.Put(buf)
	return lookError(d.pid, name, eachLine(r, buf[:], f))
}

// link returns what a symbolic link says, cut off after maxPath bytes.
func (d *dir) link(name string) (string, error) {
	for b := make([]byte, 128); ; b = make([]byte, maxPath) { // most are short
		n, err := unix.Readlinkat(d.fd, name, b)
		if err != nil {
			return "", lookError(d.pid, name, err)
		}
		if n < len(b) || n == maxPath {
			return string(b[:n]), nil
		}
	}
}

// open opens what /proc has and nothing that it points to.
func open(at int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(at, name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
