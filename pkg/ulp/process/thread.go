package process

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Thread is one thread of a process, by its number in the namespace of proc.
type Thread struct {
	TID   int
	State State
}

// ThreadList returns the threads that the process has now, in ascending order. They may be others a moment later.
// More than 65,536 are [ErrLimit].
func (p *Process) ThreadList(ctx context.Context) ([]Thread, error) {
	list, err := await(ctx, func() ([]Thread, error) {
		d, err := p.open()
		if err != nil {
			return nil, err
		}
		defer d.close()
		list, err := d.threads()
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, ErrGone
		}
		return list, nil
	})
	return list, lookError(p.PID, "task", err)
}

// Unfiltered says whether there is a thread without a filter of system calls. Threads that end meanwhile do not count.
func (p *Process) Unfiltered(ctx context.Context) (bool, error) {
	free, err := await(ctx, func() (bool, error) {
		d, err := p.open()
		if err != nil {
			return false, err
		}
		defer d.close()
		list, err := d.threads()
		if err != nil {
			return false, err
		}
		for _, th := range list {
			free, err := d.unfiltered(th.TID)
			if free || err != nil {
				return free, err
			}
		}
		return false, nil
	})
	return free, lookError(p.PID, "threads", err)
}

func (d *dir) unfiltered(tid int) (bool, error) {
	t, err := d.thread(tid)
	if err == nil {
		defer t.close()
		var s *status
		if s, err = t.status(); err == nil {
			return s.seccomp == SeccompNone, nil
		}
	}
	if errors.Is(err, ErrGone) {
		return false, nil
	}
	return false, err
}

// threads lists the threads; those that end meanwhile are left out.
func (d *dir) threads() ([]Thread, error) {
	f, err := d.open("task")
	if err != nil {
		return nil, err
	}
	defer f.close()
	var list []Thread
	err = eachNumber(int(f), func(tid int) error {
		if len(list) == maxThreads {
			return ErrLimit
		}
		t, err := d.thread(tid)
		if errors.Is(err, ErrGone) {
			return nil
		}
		if err != nil {
			return err
		}
		defer t.close()
		s, err := t.stat()
		if errors.Is(err, ErrGone) {
			return nil
		}
		if err == nil {
			list = append(list, Thread{TID: tid, State: s.state})
		}
		return err
	})
	if err != nil {
		return nil, lookError(d.pid, "task", err)
	}
	slices.SortFunc(list, func(a, b Thread) int { return a.TID - b.TID })
	return list, nil
}

// leaderGone says that the main thread ended and others go on: the process's own folder then shows no memory any more,
// those of the threads do.
func (s *stat) leaderGone() bool { return s.state == Zombie && s.threads > 1 }

// live returns a folder that shows the process's memory: its own, or that of a thread if the main thread has ended.
func (d *dir) live(main State) (*dir, error) {
	if main != Zombie {
		fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
		return &dir{fd: fd, pid: d.pid}, lookError(d.pid, "process", err)
	}
	list, err := d.threads()
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if t.State != Zombie && t.State != Dead {
			return d.thread(t.TID)
		}
	}
	return nil, lookError(d.pid, "threads", ErrGone)
}

// eachNumber calls f with each entry of a folder that is a positive number, in the folder's order: /proc sorts.
func eachNumber(fd int, f func(n int) error) error {
	var buf [8192]byte
	for {
		n, err := unix.ReadDirent(fd, buf[:])
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
				continue
			}
			if err := f(number); err != nil {
				return err
			}
		}
	}
}
