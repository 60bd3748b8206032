package trigger

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/pulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// openPID opens libpulp.so in the process of that number. The Target and the View's memory must be closed.
func (b *Libpulp) openPID(ctx context.Context, pid int) (*pulpTarget, error) {
	if err := checkProcess("", pid); err != nil {
		return nil, err
	}
	p, err := process.Look(ctx, pid, process.Options{})
	switch {
	case errors.Is(err, process.ErrGone):
		return nil, fmt.Errorf("process %d: %w", pid, ErrNoProcess)
	case err != nil:
		return nil, err
	case p.Denied:
		return nil, ErrPermission
	case p.Kernel || !p.Alive():
		return nil, ErrNoEngine
	}
	view, err := openView(ctx, p)
	if err != nil {
		return nil, err
	}
	t, err := b.Open(ctx, view)
	if err != nil {
		view.Memory.Close()
		return nil, err
	}
	return t.(*pulpTarget), nil
}

func (t *pulpTarget) closeAll() {
	t.Close()
	t.v.Memory.Close()
}

// Messages returns what libpulp.so in a process has said, as it stands in its ring of messages. The process is not stopped.
func (b *Libpulp) Messages(ctx context.Context, pid int) ([]byte, error) {
	t, err := b.openPID(ctx, pid)
	if err != nil {
		return nil, err
	}
	defer t.closeAll()
	return t.r.Messages(ctx)
}

// Check says whether a live patch is applied in a process, which is not stopped. [ErrBuildID] and [ErrNotLoaded] mean that
// it is not for this process.
func (b *Libpulp) Check(ctx context.Context, pid int, c *Container) (bool, error) {
	t, err := b.openPID(ctx, pid)
	if err != nil {
		return false, err
	}
	defer t.closeAll()
	one := &Containers{}
	one.init()
	one.add(c)
	if fit, _ := one.match(t.v.Libraries); len(fit) == 0 {
		return false, notFor(c, t.v.Libraries)
	}
	applied, err := t.Applied(ctx)
	for _, a := range applied {
		if a.ID == c.Patch.Metadata.PatchID {
			return true, nil
		}
	}
	return false, err
}

// Switched is what became of a process whose libpulp.so was to be switched on or off.
type Switched struct {
	PID     int
	Name    string // as ShortName has it
	Changed bool   // it was not so before
	Err     error  // why it is not as it should be
}

// SetPatchable lets libpulp.so in processes take live patches, or not. Like Run it calls report for each process, one at a
// time; processes without libpulp.so are left out unless one was named.
func (b *Libpulp) SetPatchable(ctx context.Context, o Options, on bool, report func(*Switched)) error {
	if o.Selector.PID != 0 {
		if err := checkProcess(o.Root, o.Selector.PID); err != nil {
			return err
		}
	}
	r := newRunner(o, nil)
	var mu sync.Mutex
	scan := process.ScanOptions{
		Options: process.Options{Root: o.Root}, PIDs: o.Selector.pids(), Workers: r.o.Workers, Timeout: r.o.Timeout,
	}
	return process.Scan(ctx, scan, func(_ context.Context, p *process.Process, err error) {
		if s := b.switchOne(ctx, r, p, err, on); s != nil {
			mu.Lock()
			defer mu.Unlock()
			report(s)
		}
	})
}

// switchOne switches one process. It returns nil for one that is not concerned.
func (b *Libpulp) switchOne(run context.Context, r *runner, p *process.Process, err error, on bool) *Switched {
	named := r.o.Selector.PID != 0
	if look, ok := errors.AsType[*process.LookError](err); ok && passing(err) != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(run), r.o.Timeout)
		defer cancel()
		if p, err = r.lookAgain(ctx, run, look.PID); err != nil && !errors.Is(err, process.ErrGone) {
			return &Switched{PID: look.PID, Err: timeIsOver(err)}
		}
	}
	switch {
	case err != nil && named:
		return &Switched{PID: r.o.Selector.PID, Err: timeIsOver(err)}
	case err != nil, !r.o.Selector.wants(p), p.Denied && !named:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), r.o.Timeout)
	defer cancel()
	s := &Switched{PID: p.PID, Name: ShortName(p)}
	for n := 1; ; n++ {
		s.Changed, s.Err = b.switchOnce(ctx, p.PID, on)
		if passing(s.Err) == nil || r.o.Attempts > 0 && n >= r.o.Attempts ||
			run.Err() != nil || !sleep(ctx, run, pause(n)) {
			break
		}
	}
	if !named && (errors.Is(s.Err, ErrNoEngine) || errors.Is(s.Err, ErrNoProcess) || errors.Is(s.Err, process.ErrGone)) {
		return nil
	}
	return s
}

func (b *Libpulp) switchOnce(ctx context.Context, pid int, on bool) (changed bool, err error) {
	t, err := b.openPID(ctx, pid)
	if err != nil {
		return false, err
	}
	defer t.closeAll()
	state, err := t.r.State(ctx)
	switch {
	case err != nil:
		return false, pulpError(err)
	case on && state.Code == 0, !on && state.Code == pulp.ErrBlocked:
		return false, nil
	}
	_, err = t.r.Stop(ctx, tracer.Options{SuspendSeccomp: b.SuspendSeccomp}, func(s *pulp.Session) error {
		changed, err = s.SetPatchable(ctx, on)
		return err
	})
	return changed, pulpError(err)
}
