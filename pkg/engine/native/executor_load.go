package native

import (
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// load is the second phase. It maps the regions, by the first loader that the process permits. With
// the calls that map go those that give back what a killed engine has left, memory and descriptors.
func (x *executor) load(ctx context.Context) error {
	if len(x.regions) == 0 {
		return nil
	}
	var refused []error
	for _, l := range loaders {
		if x.o.load != "" && x.o.load != l.name() {
			continue
		}
		if err := l.applies(x); err != nil {
			refused = append(refused, err)
			continue
		}
		err := x.loadBy(ctx, l)
		if err == nil {
			x.loader = l
			return nil
		}
		refused = append(refused, err)
		if !isDenied(err) {
			if !errors.Is(err, ErrRefused) {
				return err // whatever the others said
			}
			break
		}
		if len(x.mapped) > 0 { // a part of it
			x.unmap(ctx, x.mapped)
			x.mapped = nil
		}
	}
	return refusals(refused)
}

// isDenied reports whether a policy forbids what failed, so that another loader may be permitted.
func isDenied(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, ErrSeccomp)
}

// loadBy tries the threads one after the other: one may have no room on its stack, or a filter that
// others do not have.
func (x *executor) loadBy(ctx context.Context, l loader) error {
	if !x.hasRoom() {
		return ErrStale
	}
	s := &script{}
	idle := x.idle()
	s.giveBack(x.leakedStill(), idle)
	for _, rg := range x.regions {
		l.mapRegion(s, rg)
	}
	var first error
	for _, th := range x.callers() {
		err := x.withTimeout(ctx, func(ctx context.Context) error { return x.loadIn(ctx, th, s) })
		if err == nil {
			for _, r := range idle {
				r.state = retiredReleased
			}
			return l.check(x)
		}
		if first == nil {
			first = err
		}
		if !tryAnother(err) {
			return err
		}
	}
	return first
}

// hasRoom reports whether all that the regions need is free.
func (x *executor) hasRoom() bool {
	return !slices.ContainsFunc(x.regions, func(rg *region) bool {
		free, err := x.t.Free(tracer.Range{Start: rg.base, End: rg.end()})
		return err != nil || !free
	})
}

// idle returns the memory that may go before anything is loaded.
func (x *executor) idle() []*retired {
	var list []*retired
	for _, r := range x.retired {
		if r.idle && r.state == retiredPending {
			list = append(list, r)
		}
	}
	return list
}

// leakedStill returns the descriptors of files of ours that are still open, now that nothing moves
// any more.
func (x *executor) leakedStill() []int {
	var list []int
	for _, fd := range slices.Sorted(maps.Keys(x.leaked)) {
		if isLeaked(x.p.PID, fd) {
			list = append(list, fd)
		}
	}
	return list
}

// callers returns the threads that may make system calls, those that were not stopped inside one
// first: they are back sooner.
func (x *executor) callers() []*tracer.Thread {
	var first, others []*tracer.Thread
	for _, th := range x.t.Threads() {
		if undisturbed(th) {
			first = append(first, th)
		} else {
			others = append(others, th)
		}
	}
	return append(first, others...)
}

// undisturbed reports whether a thread was not stopped inside a system call.
func undisturbed(th *tracer.Thread) bool { return !th.InSyscall() && !th.GroupStop }

// tryAnother reports whether another thread may be able to make calls that this one cannot make.
func tryAnother(err error) bool {
	return errors.Is(err, tracer.ErrStack) || errors.Is(err, tracer.ErrDispatched) ||
		errors.Is(err, ErrSeccomp)
}

// loadIn makes a thread carry a script out.
func (x *executor) loadIn(ctx context.Context, th *tracer.Thread, s *script) error {
	x.step("filters")
	free, err := x.unfiltered(th)
	if err != nil {
		return err
	}
	if free && !x.o.oneByOne { // otherwise each call is looked at before it is made
		if err := x.loadAtOnce(ctx, th, s); !errors.Is(err, tracer.ErrNoBatch) {
			return err
		}
	}
	w := &stepwise{x: x, th: th, script: s}
	if err := w.precheck(); errors.Is(err, ErrSeccomp) {
		w.script = s.hinted()
		if w.precheck() != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := x.t.Sequence(ctx, th, w.script.data, w.next); err != nil {
		return err
	}
	return w.err
}

// loadAtOnce makes all system calls in one go: a stop between two calls takes as long as all of
// them. tracer.ErrNoBatch: they have to be made one by one.
func (x *executor) loadAtOnce(ctx context.Context, th *tracer.Thread, s *script) error {
	x.step("load")
	results, err := x.t.Batch(ctx, th, s.data, s.at)
	if err != nil {
		return err
	}
	x.step("loaded")
	var first error
	for i, res := range results {
		c := &s.calls[i]
		if res.Errno == 0 && c.Nr == unix.SYS_MMAP {
			x.noteMapped(res.Value, c.Args[1])
		}
		if err := c.failed(c.Call, res); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// noteMapped notes what was mapped, unless it is a part of what was mapped before.
func (x *executor) noteMapped(base, size uint64) {
	if !slices.ContainsFunc(x.mapped, func(m mapping) bool { return m.contains(base) }) {
		x.mapped = append(x.mapped, mapping{base, size})
	}
}

// unfiltered reports whether a thread may make any system call.
func (x *executor) unfiltered(th *tracer.Thread) (bool, error) {
	mode, err := x.t.Seccomp(th)
	return mode == tracer.SeccompNone || x.o.SuspendSeccomp, err
}
