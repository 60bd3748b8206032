package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// Options say what is to be done in which processes.
type Options struct {
	Selector Selector
	// Only returns why one of the selected processes is to be left alone, which is reported if it
	// has a library that a container is for; nil if it is not. It is called by several goroutines
	// at once. An [ErrElsewhere] makes it Skipped, anything else Failed: it is not known whether
	// the process is meant.
	Only func(ctx context.Context, p *process.Process) error
	// Engines are asked in this order: the first one that is for a process gets it.
	Engines []Engine
	// Containers are the live patches to apply, or with Revert to take out; nil for none.
	Containers *Containers
	Revert     bool
	// RevertAll is the base name of a library all of whose live patches are taken out first, under
	// the same stop; "target" means the targets of the containers. Where there are containers, it
	// is done only if one of them can be applied.
	RevertAll string
	// Replace takes out what else is applied to the containers' targets, as RevertAll: "target"
	// does, unless exactly the containers are applied already.
	Replace bool
	// Leftovers has memory given back that the native engine has in processes and does not use: of
	// engines that were killed, and of live patches that were reverted while a thread was in them.
	// Nothing else is done then.
	Leftovers bool
	// DryRun stops after the decision: reports say what would be done.
	DryRun bool

	// First are the processes that are begun before others of the same user, as those that an
	// earlier run did not reach.
	First []int
	// Attempts bounds how often a process is stopped; 0 means as often as there is time.
	Attempts int
	// Timeout is the time that one process gets, all attempts together; default 30 s.
	Timeout time.Duration
	// MaxStop is for how long a process may be stopped at most; 0 means no limit. It is the
	// engines' to see to it; here is noted where it was exceeded.
	MaxStop time.Duration
	// Deadline is the time after which no further process is begun; 0 means none.
	Deadline time.Duration
	// Workers is how many processes are worked on at the same time; default: twice the number of
	// CPUs, since it waits for their threads to stop for a part of the time. One that takes its
	// time gives its place to the next.
	Workers int

	// Every adds results for the containers that do not concern a process.
	Every bool
	// BadFiles makes each file that is no live patch a failure in each process that has an engine.
	BadFiles bool
	// Root is where proc is mounted; default "/proc".
	Root string
}

// target is what Options.RevertAll calls the targets of the containers.
const target = "target"

// defaultTimeout is the time of a process.
const defaultTimeout = 30 * time.Second

// DefaultMaxStop is for how long a process should be stopped at most: what takes longer is noticed
// by health checks and by people, and takes that long only on a machine that is very busy.
const DefaultMaxStop = 500 * time.Millisecond

// GCPercent is for [debug.SetGCPercent] in a program that does nothing besides Run. What Run needs
// at a time is a few MiB, so that Go's default would collect the rubbish after every few dozen
// processes; this keeps 16 MiB of it at least.
const GCPercent = 400

// Run decides for each process what is to be done, does it unless it is a dry run, and calls report
// for each process that is concerned: one that an engine is for, or that has a library which a
// container is for. Calls of report do not overlap; their order is that in which processes are
// finished. What report is given is not kept.
//
// A process that is forked during the run, by one that is not changed yet, is visited as well.
//
// The error is a [*process.UnbegunError] if not all processes were begun, which wraps
// [ErrDeadline], the context's error or [process.ErrForking]. It is the [Selector]'s if the process
// that was named is not there, or that of reading proc. That processes failed is no error;
// [Summary] counts them.
func Run(ctx context.Context, o Options, report func(*Report)) (Summary, error) {
	r := newRunner(o, report)
	if err := (process.Options{Root: o.Root}).CheckProc(); err != nil {
		return Summary{}, err
	}
	if o.Selector.PID != 0 {
		if err := checkProcess(o.Root, o.Selector.PID); err != nil {
			return Summary{}, err
		}
	}
	if o.Deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.Deadline,
			fmt.Errorf("%w: the time for the whole run is up", ErrDeadline))
		defer cancel()
	}
	ctx, end := process.WithWorkers(ctx)
	defer end()
	scan := process.ScanOptions{
		Options: process.Options{Root: o.Root}, PIDs: o.Selector.pids(), First: o.First,
		Workers: r.o.Workers, Timeout: r.o.Timeout,
		Meant:   r.o.Selector.meant(),
		Changed: r.takeChanged,
	}
	err := process.ScanRetry(ctx, scan,
		func(_ context.Context, p *process.Process, err error) *process.Later {
			return r.visit(ctx, p, err)
		})
	return r.summary, err
}

type runner struct {
	o Options

	mu      sync.Mutex
	report  func(*Report)
	summary Summary
	changed bool // a process, since the scan asked
}

func newRunner(o Options, report func(*Report)) *runner {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Workers <= 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	if o.Containers == nil {
		o.Containers = &Containers{}
	}
	return &runner{o: o, report: report}
}

// visit makes the first attempt at one process. run is the context of the whole run: when it ends,
// what is under way is finished in the time that the process has.
func (r *runner) visit(run context.Context, p *process.Process, err error) *process.Later {
	until := time.Now().Add(r.o.Timeout)
	if look, ok := errors.AsType[*process.LookError](err); ok && passing(err) != nil {
		return (&glimpse{r: r, run: run, pid: look.PID, until: until}).next(err)
	}
	return r.begin(run, p, err, until)
}

// begin is visit for a process that was seen, or will not be.
func (r *runner) begin(run context.Context, p *process.Process, err error,
	until time.Time) *process.Later {
	if err != nil {
		r.unseen(run, err)
		return nil
	}
	if why := never(p); why != nil && r.o.Selector.PID != 0 {
		rep := newReport(p)
		rep.fail(Skipped, why)
		r.give(rep)
		return nil
	}
	if !r.o.Selector.wants(p) {
		return nil
	}
	if p.Denied {
		r.denied(p)
		return nil
	}
	c := &course{r: r, run: run, p: p, rep: newReport(p), done: map[string]Result{},
		failed: failures{}, until: until}
	return c.attempt()
}

func newReport(p *process.Process) *Report {
	rep := &Report{}
	rep.of(p)
	return rep
}

// of makes it a report of a process, as it is now.
func (rep *Report) of(p *process.Process) {
	rep.PID, rep.Name, rep.Exe, rep.UID, rep.Elevated, rep.Container = p.PID, FullName(p), p.Exe,
		p.UID.Real, p.Elevated(), p.Container
}

// unseen reports a process that could not be examined, unless it has ended or is known not to match
// the selector.
func (r *runner) unseen(ctx context.Context, err error) {
	look, ok := errors.AsType[*process.LookError](err)
	if !ok || errors.Is(err, process.ErrGone) && r.o.Selector.PID == 0 {
		return
	}
	name, may := r.o.Selector.mayWant(ctx, r.o.Root, look.PID)
	if !may && r.o.Selector.PID == 0 {
		return
	}
	if errors.Is(err, process.ErrPermission) && r.o.Selector.PID == 0 {
		r.mu.Lock()
		r.summary.deny(name, look.PID)
		r.mu.Unlock()
		return
	}
	r.give(&Report{PID: look.PID, Name: name, Status: statusOf(err), Err: timeIsOver(err)})
}

// denied counts a process into which this user may not look; only if it was named it is a failure.
func (r *runner) denied(p *process.Process) {
	if r.o.Selector.PID != 0 {
		rep := newReport(p)
		rep.Status, rep.Err = Failed, ErrPermission
		r.give(rep)
		return
	}
	r.mu.Lock()
	r.summary.deny(FullName(p), p.PID)
	r.mu.Unlock()
}

// give counts and reports a process.
func (r *runner) give(rep *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.summary.add(rep)
	r.changed = r.changed || !r.o.DryRun && rep.changed()
	if r.report != nil {
		r.report(rep)
	}
}

// takeChanged is that of [process.ScanOptions].
func (r *runner) takeChanged() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.changed
	r.changed = false
	return changed
}

// timeIsOver makes an ErrDeadline of a context's.
func timeIsOver(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrDeadline, err)
	}
	return err
}
