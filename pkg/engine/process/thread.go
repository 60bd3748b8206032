package process

import (
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// Thread is one thread of a process, by its number in the namespace of proc.
type Thread struct {
	TID   int
	State State
}

// ThreadList returns the threads that the process has now, in ascending order. They may be others a
// moment later. More than 65,536 are [ErrLimit].
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
		if len(list) == 0 { // all that were listed have ended
			return nil, d.noThreads()
		}
		return list, nil
	})
	return list, lookError(p.PID, "task", err)
}

// Unfiltered reports whether there is a thread without a filter of system calls. Threads that end
// meanwhile do not count.
func (p *Process) Unfiltered(ctx context.Context) (bool, error) {
	return p.anyThread(ctx, func(s *procfs.Status) bool {
		return Seccomp(s.Seccomp) == SeccompNone
	})
}

// Unshadowed reports whether there is a thread without a shadow stack, as far as the kernel tells.
// Threads that end meanwhile do not count.
func (p *Process) Unshadowed(ctx context.Context) (bool, error) {
	if !p.ShadowStack && p.State != Zombie {
		return true, nil
	}
	return p.anyThread(ctx, func(s *procfs.Status) bool { return !s.ShadowStack })
}

// anyThread reports whether there is a thread with a certain status.
func (p *Process) anyThread(ctx context.Context, is func(*procfs.Status) bool) (bool, error) {
	found, err := await(ctx, func() (bool, error) {
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
			s, err := d.Status(th.TID)
			switch {
			case errors.Is(err, procfs.ErrGone), err == nil &&
				(th.State == Zombie || th.State == Dead): // it makes no call
			case err != nil, is(s):
				return err == nil, err
			}
		}
		return false, nil
	})
	return found, lookError(p.PID, "threads", err)
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
