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

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// Result says what a change did.
type Result struct {
	Stop     time.Duration // how long the process stood still, the longest time if it was stopped twice
	Loaded   int           // live patches that were loaded
	Reverted int           // live patches that are not active any more
	Retired  int           // mappings that a thread still needs: a later change frees them
}

// run is a plan that is being carried out, on the thread that owns the tracee.
type run struct {
	*Plan
	t    *tracer.Tracee
	mem  *tracer.Memory
	done []write // what was there before each write so far
	// mapped is what was loaded so far, to be unmapped if anything fails
	mapped []*freed
	full   bool                 // the regions were not zeros
	buf    []byte               // for what is read again
	words  *tracer.StackScanner // for stacks
	res    Result
}

// Run stops the process and carries the plan out. ErrAgain and ErrStale mean that nothing happened, and that the same can
// be tried again, after ErrStale with a new plan. Any other error means that it cannot be done. In all cases the code and
// data of the process are as they were, and it goes on. Memory that could not be given back may be left in it: nothing
// leads there, and a later change frees it.
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
	r := &run{Plan: pl, buf: *buf, words: tracer.NewStackScanner(pl.stacks)}
	defer r.words.Done()
	o := tracer.Options{StopTimeout: pl.o.StopTimeout, MaxStop: pl.o.MaxStop, SuspendSeccomp: pl.o.SuspendSeccomp, Gadgets: pl.gadgets}
	if pl.o.step != nil {
		o = tracer.WithStep(o, pl.o.step)
	}
	stop, err := tracer.Run(ctx, pl.p.PID, o, func(t *tracer.Tracee) error {
		r.t, r.mem = t, t.Memory()
		return r.change(context.WithoutCancel(ctx))
	})
	r.res.Stop = stop
	return r.res, pidError(pl.p.PID, "", err)
}

// readStep is how much is read again at once.
const readStep = 64 << 10

// buffers are touched, so that no page of them has to be made under the stop.
var buffers = sync.Pool{New: func() any {
	b := bytes.Repeat([]byte{1}, readStep)
	return &b
}}

// nothing says whether the process is as it should be already. It is not stopped then.
func (pl *Plan) nothing() bool {
	for _, tp := range pl.targets {
		if len(tp.install)+len(tp.restore) > 0 || !bytes.Equal(tp.oldPage, tp.next.encodePage()) {
			return false
		}
	}
	return len(pl.regions)+len(pl.frees)+len(pl.leaked) == 0
}

// change does everything that happens while the process is stopped.
func (r *run) change(ctx context.Context) error {
	r.step("stopped")
	if err := cmp.Or(r.underway(), r.late()); err != nil {
		return err
	}
	for _, f := range r.frees {
		f.done = false
	}
	err := cmp.Or(r.survey(), r.late())
	if err != nil {
		return err // before anything is mapped
	}
	if len(r.regions) > 0 {
		if err = r.bring(ctx); errors.Is(err, tracer.ErrExec) || errors.Is(err, tracer.ErrGone) {
			return err // and with the program went what was mapped
		}
	}
	if err == nil {
		err = r.late()
	}
	if err == nil {
		err = r.switchAll()
	}
	if err != nil {
		r.undo(ctx)
		return err
	}
	r.free(ctx)
	r.count()
	return nil
}

// calling limits the time for which a thread makes system calls, none of which waits for anything: a thread of a frozen process
// can be stopped, but not run.
func (r *run) calling(ctx context.Context, f func(context.Context) error) error {
	most := cmp.Or(r.o.StopTimeout, callsTime)
	if r.o.MaxStop > 0 {
		most = min(most, r.o.MaxStop)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most, ErrNotRunning)
	defer cancel()
	return f(ctx)
}

// callsTime is how long that may take where no StopTimeout is given.
const callsTime = time.Second

// late returns ErrLate if the process has stood still for too long. It is asked where nothing has been done that takes time to
// undo: before anything is loaded, and before anything is switched.
func (r *run) late() error {
	if r.t.Late() {
		return fmt.Errorf("%w: the limit is %s", ErrLate, diag.Duration(r.o.MaxStop))
	}
	return nil
}

// underway says whether a thread still maps or unmaps for an earlier change: the memory would not stay as it is now.
func (r *run) underway() error {
	for _, th := range r.t.Threads() {
		switch yes, err := r.t.IsSubmitted(th); {
		case err != nil:
			return err
		case yes:
			return fmt.Errorf("thread %d still works for an earlier change: %w", th.TID, ErrAgain)
		}
	}
	return nil
}

// largeFrom is from how many pages on, of which each takes about a microsecond to make and to write, a process does not stand
// still for that.
const largeFrom = 64

// bring puts the regions into the process. Where much is to be written and threads were running, they go on meanwhile, since
// nothing leads there yet, and are stopped again: what counts is the longest time for which the process stands still.
func (r *run) bring(ctx context.Context) error {
	if err := r.load(ctx); err != nil {
		return err
	}
	pages := 0
	for _, rg := range r.regions {
		pages += rg.pages(r.full)
	}
	if pages < largeFrom && !r.o.twoStops {
		return r.fill()
	}
	var err error
	stopErr := r.meanwhile(ctx, func() error {
		err = r.fill()
		return nil
	})
	if err = cmp.Or(stopErr, err); err != nil {
		return err
	}
	if err := r.arrived(); err != nil {
		return err
	}
	r.expect = slices.DeleteFunc(slices.Clone(r.expect), func(w write) bool {
		return slices.ContainsFunc(r.frees, func(f *freed) bool { return f.done && w.addr-f.base < f.size })
	})
	return r.survey()
}

// meanwhile lets the process run while f runs, if it was running: threads that were all asleep do not miss that time.
func (r *run) meanwhile(ctx context.Context, f func() error) error {
	if !slices.ContainsFunc(r.t.Threads(), (*tracer.Thread).Running) {
		return f()
	}
	return r.t.WhileRunning(ctx, f)
}

// arrived sees whether what was mapped is still there: the process could have mapped something else over it.
func (r *run) arrived() error {
	for _, rg := range r.regions {
		if err := r.verify([]write{{rg.base, rg.first()}}); err != nil {
			r.mapped = nil // whatever it is now, it is not ours to unmap; what is left of ours, the next change unmaps
			return err
		}
	}
	return nil
}

// verify compares what the plan was made for with what is there, now that nothing moves any more.
func (r *run) verify(expect []write) error {
	for len(expect) > 0 {
		n, end := together(expect)
		from := expect[0].addr
		b := r.buf[:min(end-from, uint64(len(r.buf)))]
		if _, err := r.mem.ReadAt(b, int64(from)); err != nil {
			return ErrStale
		}
		for _, e := range expect[:n] {
			if !bytes.HasPrefix(b[e.addr-from:], e.data) {
				return ErrStale
			}
		}
		expect = expect[n:]
	}
	return nil
}

// together is how many of the first ones are to be read at once, and up to where: those that lie behind the first one in the
// same page, as functions do whose entries are looked at.
func together(expect []write) (n int, end uint64) {
	first := expect[0]
	end = first.end()
	for _, e := range expect[1:] {
		if e.addr < first.addr || e.end() > pageDown(first.addr)+pageSize {
			break
		}
		n, end = n+1, max(end, e.end())
	}
	return n + 1, end
}

// survey verifies everything, and looks where the threads are, and whether they are all that runs there.
func (r *run) survey() error {
	if err := r.alone(); err != nil {
		return err
	}
	if err := r.verify(r.expect); err != nil {
		return err
	}
	if err := r.orphaned(); err != nil {
		return err
	}
	for _, f := range r.frees {
		f.inUse = false
	}
	r.step("look")
	return r.look()
}

// switchAll leads the functions to their stubs, which still lead on to them; then switches all of a library at once; and
// gives those that nothing replaces any more their entries back.
func (r *run) switchAll() error {
	for _, tp := range r.targets {
		if err := r.enlist(tp); err != nil {
			return err
		}
		for _, slot := range tp.install {
			writes, err := tp.next.sites[slot].detour(tp.next.stub(slot))
			if err != nil {
				return err
			}
			if err := r.writeAll(writes); err != nil {
				return err
			}
		}
		if tp.next.base == 0 {
			continue
		}
		if err := r.write(write{tp.next.base, tp.next.encodePage()}); err != nil {
			return err
		}
		for _, slot := range tp.restore {
			if err := r.writeAll(tp.next.sites[slot].restore()); err != nil {
				return err
			}
		}
	}
	return nil
}

// enlist adds new sites to a table that is there already. What is behind the sites that its page counts is nobody's.
func (r *run) enlist(tp *targetPlan) error {
	if tp.old == nil || tp.added == 0 {
		return nil
	}
	known := len(tp.next.sites) - tp.added
	for slot := known; slot < len(tp.next.sites); slot++ {
		stub, err := tp.next.encodeStub(slot)
		if err != nil {
			return err
		}
		if err := r.writeAll([]write{
			{tp.next.base + sitesAt + uint64(slot)*siteSize, tp.next.sites[slot].encode()},
			{tp.next.stub(slot), stub},
		}); err != nil {
			return err
		}
	}
	interim := tp.next.clone()
	interim.layers = tp.old.layers
	for slot := range interim.slots {
		interim.slots[slot] = interim.origin(slot)
	}
	copy(interim.slots, tp.old.slots)
	return r.write(write{tp.next.base, interim.encodePage()})
}

func (r *run) writeAll(list []write) error {
	for _, w := range list {
		if err := r.write(w); err != nil {
			return err
		}
	}
	return nil
}

// write changes memory and remembers what was there.
func (r *run) write(w write) error {
	r.step("write")
	old := r.known(w)
	if old == nil {
		old = make([]byte, len(w.data))
		if _, err := r.mem.ReadAt(old, int64(w.addr)); err != nil {
			return fmt.Errorf("reading %#x: %w", w.addr, gone(err))
		}
	}
	if _, err := r.mem.WriteAt(w.data, int64(w.addr)); err != nil {
		return fmt.Errorf("writing %#x: %w", w.addr, gone(err))
	}
	r.done = append(r.done, write{w.addr, old})
	return nil
}

// known returns what was found where w is going to be written, nil if that was not looked at.
func (r *run) known(w write) []byte {
	for _, e := range r.expect {
		if off := w.addr - e.addr; w.addr >= e.addr && off+uint64(len(w.data)) <= uint64(len(e.data)) {
			return e.data[off:][:len(w.data)]
		}
	}
	return nil
}

// gone says that memory which was there a moment ago is so no more because the process was killed.
func gone(err error) error {
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.EFAULT) {
		return err
	}
	return fmt.Errorf("%w: %w", tracer.ErrGone, err)
}

// undo takes all writes back, the last one first, and unmaps what was loaded.
func (r *run) undo(ctx context.Context) {
	for _, w := range slices.Backward(r.done) {
		r.step("undo")
		_, _ = r.mem.WriteAt(w.data, int64(w.addr))
	}
	if len(r.mapped) > 0 {
		r.unmap(ctx, r.mapped)
	}
}

func (r *run) count() {
	before := map[uint64]bool{}
	for _, a := range r.applied {
		before[a.Base] = a.Active
	}
	for _, tp := range r.targets {
		r.res.Loaded += len(tp.adding)
		for _, l := range tp.next.layers {
			before[l.base] = false
		}
	}
	for _, active := range before {
		if active {
			r.res.Reverted++
		}
	}
	for _, f := range r.frees {
		if f.inUse {
			r.res.Retired++
		}
	}
}

func (r *run) step(name string) {
	if r.o.step != nil {
		r.o.step(name)
	}
}
