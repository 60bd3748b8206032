package procfs

import (
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// EachTask calls f with the number of each thread, in ascending order. They come and go: what it
// shows is true for no longer than it takes to read. complete reports whether as many threads as it
// showed were there afterwards; a thread that ends meanwhile may hide another one.
//
// Every process has a thread. A list without any is [ErrGone] if the process is; if it is not, a
// thread that executes another program is just taking the first one's number, and the list is read
// again.
func (d *Dir) EachTask(f func(tid int) error) (complete bool, err error) {
	for range emptyReads {
		if complete, err = d.eachTask(f); !errors.Is(err, errNoThreads) {
			break
		}
		time.Sleep(emptyPause)
	}
	return complete, err
}

// emptyReads bounds how often a list without threads is read.
const (
	emptyReads = 20
	emptyPause = 100 * time.Microsecond
)

var errNoThreads = malformed("no threads")

func (d *Dir) eachTask(f func(tid int) error) (complete bool, err error) {
	dir, err := d.Open("task", ReadOnly|unix.O_DIRECTORY)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	n := 0
	if err := EachNumber(dir, func(tid int) error { n++; return f(tid) }); err != nil {
		return false, d.fail("task", err)
	}
	if n == 0 {
		return false, d.fail("task", errNoThreads)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(dir), &st); err != nil {
		return false, d.fail("task", err)
	}
	return int(st.Nlink) == n+2, nil
}

// Tasks returns how many threads the process has, those included that have ended and were not yet
// waited for.
func (d *Dir) Tasks() (int, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, "task", &st, 0); err != nil {
		return 0, d.fail("task", err)
	}
	return int(st.Nlink) - 2, nil
}

// HasTask reports whether a thread is one of the process's.
func (d *Dir) HasTask(tid int) (bool, error) {
	name := TaskFile(tid, "")
	switch err := unix.Faccessat(d.fd, name, unix.F_OK, 0); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return false, nil
	default:
		return false, d.fail(name, err)
	}
}

// EachNumber calls f with each entry of a directory that is a positive number, in the directory's
// order: proc sorts.
func EachNumber(dir File, f func(n int) error) error {
	var buf [8192]byte
	for {
		n, err := unix.ReadDirent(int(dir), buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case n <= 0:
			return nil
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			number, err := strconv.Atoi(name)
			if err != nil || number <= 0 || name[0] == '+' {
				continue // proc has other entries, too
			}
			if err := f(number); err != nil {
				return err
			}
		}
	}
}
