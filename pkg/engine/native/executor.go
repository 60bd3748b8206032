package native

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// Result describes what a change did.
type Result struct {
	Stop     time.Duration // how long the process was stopped; if it was twice, the longest time
	Loaded   int           // live patches that were loaded
	Reverted int           // live patches that are not active any more
	Retired  int           // mappings that a thread still needs: a later change frees them
}

// executor carries a Plan out in a process that is stopped. All of it runs on the thread that owns
// the tracee. It goes through the phases in order, each of which has a file of its own:
//
//	survey ──► load ──► fill ──► verify ──► switch ──► release ──► done
//	   │         │        │        │           │
//	   │         └────────┴───┬────┴───────────┘
//	   ▼                      ▼
//	 error                   undo ──► error
//
// A plan that loads nothing has nothing to do in load and fill. The process makes system calls in
// load, undo and release. Its threads may run in fill, if there is much to write, and in release;
// in all other phases they are stopped.
//
//	phase    needs                    if the engine is killed in it     if it fails
//	survey   all threads stopped      the process is as it was          there is nothing to undo
//	load     a survey that agrees     nothing leads to what is mapped;  what was mapped is
//	         with the plan            a descriptor may be open          unmapped
//	fill     the mappings             nothing leads to them; they begin they are unmapped
//	                                  with a mark
//	verify   the contents             nothing leads to the regions,     they are unmapped, unless
//	                                  which are complete                the process mapped over
//	                                                                    them
//	switch   a second survey, if      functions lead to stubs, and      all writes are taken back,
//	         threads may have run     these to the old code or, after   the last one first, and
//	                                  the one write that counts, to     the regions are unmapped
//	                                  the new code
//	release  the switch               the process has the new code, and it does not: what remains
//	                                  memory that nothing leads to      is for a later change
//
// The next change recognizes what a killed engine left, and unmaps it: see region. Memory that was
// in use before the change is only unmapped in release, so that a failure leaves the process with
// the live patches that it had. What was not in use (a killed engine's) goes in load already.
type executor struct {
	*Plan
	t       *tracer.Tracee
	mem     *tracer.Memory
	phase   phase
	loader  loader    // the one that mapped the regions; nil: none has
	filling filling   // how the regions are filled
	mapped  []mapping // what was loaded so far, to be unmapped if anything fails
	done    []write   // what was there before each write so far
	buf     []byte    // for what is read again
	stack   *tracer.StackScanner
	res     Result
}

// phase is a phase of an executor.
type phase int

const (
	phaseSurvey  phase = iota // is the process what the plan was made for?
	phaseLoad                 // map the regions
	phaseFill                 // write their contents
	phaseVerify               // is the process still what the plan was made for?
	phaseSwitch               // lead the functions to their replacements
	phaseRelease              // unmap what is not needed any more
)

// phases are what an executor does in each phase, in order.
var phases = [...]func(*executor, context.Context) error{
	phaseSurvey:  (*executor).survey,
	phaseLoad:    (*executor).load,
	phaseFill:    (*executor).fill,
	phaseVerify:  (*executor).verify,
	phaseSwitch:  (*executor).switchOver,
	phaseRelease: (*executor).release,
}

// Run stops the process and carries the plan out. A plan runs once. ErrAgain and ErrStale mean that
// nothing happened, and that it can be tried again with a new plan. Any other error means that it
// cannot be done. In all cases the code and data of the process are as they were, and it goes
// on. Memory that could not be given back may be left in it: nothing leads there, and a later
// change frees it.
func (pl *Plan) Run(ctx context.Context) (Result, error) {
	if err := pl.p.Verify(ctx); err != nil {
		return Result{}, pidError(pl.p.PID, "", err)
	}
	if pl.nothing() {
		return Result{}, nil
	}
	if err := pl.stillAlone(); err != nil {
		return Result{}, pidError(pl.p.PID, "", err)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	x := &executor{Plan: pl, buf: *buf, stack: tracer.NewStackScanner(pl.stacks)}
	defer x.stack.Done()
	o := tracer.Options{StopTimeout: pl.o.StopTimeout, MaxStop: pl.o.MaxStop,
		SuspendSeccomp: pl.o.SuspendSeccomp, Gadgets: pl.gadgets}
	if pl.o.step != nil {
		o = tracer.WithStep(o, pl.o.step)
	}
	stop, err := tracer.Run(ctx, pl.p.PID, o, func(t *tracer.Tracee) error {
		x.t, x.mem = t, t.Memory()
		return x.execute(context.WithoutCancel(ctx))
	})
	x.res.Stop = stop
	return x.res, pidError(pl.p.PID, "", err)
}

// readStep is how much is read again at once.
const readStep = 64 << 10

// buffers are touched, so that no page of them has to be made under the stop.
var buffers = sync.Pool{New: func() any {
	b := bytes.Repeat([]byte{1}, readStep)
	return &b
}}

// nothing reports whether the process is as it should be already. It is not stopped then.
func (pl *Plan) nothing() bool {
	for _, tp := range pl.targets {
		if len(tp.install)+len(tp.restore) > 0 || !bytes.Equal(tp.oldPage, tp.next.encodePage()) {
			return false
		}
	}
	return len(pl.regions)+len(pl.retired)+len(pl.leaked) == 0
}

// execute goes through the phases. If one fails, what the phases have done is undone.
func (x *executor) execute(ctx context.Context) error {
	x.step("stopped")
	for p, do := range phases {
		x.phase = phase(p)
		if err := do(x, ctx); err != nil {
			x.undo(ctx, err)
			return err
		}
	}
	x.count()
	return nil
}

// undo takes all writes back, the last one first, and unmaps what was loaded. err is why.
func (x *executor) undo(ctx context.Context, err error) {
	if x.phase == phaseSurvey {
		return // nothing was done
	}
	over := errors.Is(err, tracer.ErrExec) || errors.Is(err, tracer.ErrGone)
	if over && x.phase < phaseSwitch {
		return // what was mapped is gone with the program
	}
	for _, w := range slices.Backward(x.done) {
		x.step("undo")
		_, _ = x.mem.WriteAt(w.data, int64(w.addr))
	}
	if len(x.mapped) > 0 {
		x.unmap(ctx, x.mapped)
	}
}

// withTimeout limits the time in which a thread makes system calls, none of which waits for
// anything: a thread of a frozen process can be stopped, but does not run.
func (x *executor) withTimeout(ctx context.Context, f func(context.Context) error) error {
	most := cmp.Or(x.o.StopTimeout, callsTime)
	if x.o.MaxStop > 0 {
		most = min(most, x.o.MaxStop)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most, ErrNotRunning)
	defer cancel()
	return f(ctx)
}

// callsTime is how long the calls may take where no StopTimeout is given.
const callsTime = time.Second

// late returns ErrLate if the process has been stopped for too long. It is asked where nothing has
// been done that takes time to undo: before anything is loaded, and before anything is switched.
func (x *executor) late() error {
	if x.t.Late() {
		return fmt.Errorf("%w: the limit is %s", ErrLate, diag.Duration(x.o.MaxStop))
	}
	return nil
}

// whileRunning runs f while the threads that were running go on. Where all were asleep, they stay
// stopped: they do not miss that time.
func (x *executor) whileRunning(ctx context.Context, f func() error) error {
	if !slices.ContainsFunc(x.t.Threads(), (*tracer.Thread).Running) {
		return f()
	}
	return x.t.WhileRunning(ctx, f)
}

// count completes the result.
func (x *executor) count() {
	active := map[uint64]bool{}
	for _, a := range x.applied {
		active[a.Base] = a.Active
	}
	for _, tp := range x.targets {
		x.res.Loaded += len(tp.adding)
		for _, l := range tp.next.patches {
			active[l.base] = false
		}
	}
	for _, reverted := range active {
		if reverted {
			x.res.Reverted++
		}
	}
	for _, r := range x.retired {
		if r.state == retiredInUse {
			x.res.Retired++
		}
	}
}

// step calls the test hook.
func (x *executor) step(name string) {
	if x.o.step != nil {
		x.o.step(name)
	}
}
