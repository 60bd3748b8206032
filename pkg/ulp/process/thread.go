package process

import (
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/procfs"
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
		defer d.Close()
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
		defer d.Close()
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

func (d dir) unfiltered(tid int) (bool, error) {
	s, err := d.Status(tid)
	if errors.Is(err, procfs.ErrGone) {
		return false, nil // it filters nothing, and makes no call
	}
	return err == nil && Seccomp(s.Seccomp) == SeccompNone, err
}

// threads lists the threads; those that end meanwhile are left out.
func (d dir) threads() ([]Thread, error) {
	var list []Thread
	_, err := d.EachTask(func(tid int) error {
		if len(list) == maxThreads {
			return ErrLimit
		}
		s, err := d.Stat(tid)
		if errors.Is(err, procfs.ErrGone) {
			return nil
		}
		if err == nil {
			list = append(list, Thread{TID: tid, State: State(s.State)})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b Thread) int { return a.TID - b.TID })
	return list, nil
}
