package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// openPID opens libpulp.so in the process of that number. The Target and the View's memory must be
// closed.
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
	t, err := b.open(ctx, view)
	if err != nil {
		view.Memory.Close()
		return nil, err
	}
	return t, nil
}

func (t *pulpTarget) closeAll() {
	t.Close()
	t.v.Memory.Close()
}

// Messages returns what libpulp.so in a process has said, as it stands in its ring of messages. The
// process is not stopped.
func (b *Libpulp) Messages(ctx context.Context, pid int) ([]byte, error) {
	t, err := b.openPID(ctx, pid)
	if err != nil {
		return nil, err
	}
	defer t.closeAll()
	return t.r.Messages(ctx)
}

// Check reports whether a live patch is applied in a process, which is not stopped. [ErrBuildID]
// and [ErrNotLoaded] mean that it is not for this process.
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

// SetPatchable lets libpulp.so in processes take live patches, or not. Like Run it calls report for
// each process, one at a time; processes without libpulp.so are left out unless one was named.
func (b *Libpulp) SetPatchable(ctx context.Context, o Options, on bool,
	report func(*Switched)) error {
	if o.Selector.PID != 0 {
		if err := checkProcess(o.Root, o.Selector.PID); err != nil {
			return err
		}
	}
	r := newRunner(o, nil)
	scan := process.ScanOptions{
		Options: process.Options{Root: o.Root}, PIDs: o.Selector.pids(), Workers: r.o.Workers,
		Timeout: r.o.Timeout,
		Meant:   r.o.Selector.meant(), Changed: r.takeChanged,
	}
	give := func(s *Switched) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed = r.changed || s.Changed
		report(s)
	}
	return process.ScanRetry(ctx, scan,
		func(_ context.Context, p *process.Process, err error) *process.Later {
			named := r.o.Selector.PID != 0
			if look, ok := errors.AsType[*process.LookError](err); ok && passing(err) != nil {
				p, err = r.lookAgain(ctx, look.PID)
				if err != nil && !errors.Is(err, process.ErrGone) {
					give(&Switched{PID: look.PID, Err: timeIsOver(err)})
					return nil
				}
			}
			switch {
			case err != nil && named:
				give(&Switched{PID: r.o.Selector.PID, Err: timeIsOver(err)})
				return nil
			case err != nil, !r.o.Selector.wants(p), p.Denied && !named:
				return nil
			}
			s := &switching{b: b, r: r, run: ctx, give: give, on: on,
				until: time.Now().Add(r.o.Timeout), s: &Switched{PID: p.PID, Name: ShortName(p)}}
			return s.attempt(ctx)
		})
}

// lookAgain looks at a process that started other programs faster than it could be looked at. Of
// one that does not stop doing so, the error is that of the last look.
func (r *runner) lookAgain(run context.Context, pid int) (*process.Process, error) {
	ctx, cancel := context.WithTimeout(run, r.o.Timeout)
	defer cancel()
	for n := 1; ; n++ {
		p, err := process.Look(ctx, pid, process.Options{Root: r.o.Root})
		if passing(err) == nil {
			return p, err
		}
		select {
		case <-time.After(pause(n)):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrDeadline, err)
		}
	}
}

// switching is what became of a process so far.
type switching struct {
	b     *Libpulp
	r     *runner
	run   context.Context // of the whole run
	give  func(*Switched)
	until time.Time
	on    bool
	n     int // attempts
	s     *Switched
}

// attempt switches the process, or returns the next attempt.
func (s *switching) attempt(turn context.Context) *process.Later {
	if s.n == 0 || turn.Err() == nil {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(s.run), s.until)
		defer cancel()
		s.n++
		s.s.Changed, s.s.Err = s.b.switchOnce(ctx, s.s.PID, s.on)
		if passing(s.s.Err) != nil && (s.r.o.Attempts <= 0 || s.n < s.r.o.Attempts) &&
			s.run.Err() == nil {
			return &process.Later{Pause: pause(s.n), Visit: s.attempt}
		}
	}
	err := s.s.Err
	if s.r.o.Selector.PID != 0 || !errors.Is(err, ErrNoEngine) && !errors.Is(err, ErrNoProcess) &&
		!errors.Is(err, process.ErrGone) {
		s.give(s.s)
	}
	return nil
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
	case on && state.Code == 0, !on && state.Code == libpulp.ErrBlocked:
		return false, nil
	}
	_, err = t.r.Stop(ctx, tracer.Options{SuspendSeccomp: b.SuspendSeccomp},
		func(s *libpulp.Session) error {
			changed, err = s.SetPatchable(ctx, on)
			return err
		})
	return changed, pulpError(err)
}
