package native

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// retired is a region, or a part of one, that no live patch needs after the change. It is unmapped
// when no thread needs it.
type retired struct {
	mapping
	state retiredState
	idle  bool     // not active before the change either, so that it may go first
	text  []extent // what of it is code, from base on
	calls *retired // what its code may call, and is kept as long as it is; nil: nothing of the sort
}

// retiredState is what has become of a retired region.
type retiredState int

const (
	retiredPending  retiredState = iota // nothing is known to need it
	retiredInUse                        // a thread leads into it: it is kept for a later change
	retiredReleased                     // it is unmapped
)

// code reports whether an address is in code.
func (r *retired) code(addr uint64) bool { return inExtents(r.text, addr-r.base) }

// needed notes that a thread leads into a region, if that has not been unmapped already.
func (r *retired) needed() {
	if r.state == retiredPending {
		r.state = retiredInUse
	}
}

// release is the last phase. It unmaps what no thread needs. Nothing leads there any more, so
// threads that were running may go on before that. A failure leaves memory to a later change.
func (x *executor) release(ctx context.Context) error {
	var list []mapping
	for _, r := range x.retired {
		if r.state == retiredPending {
			list = append(list, r.mapping)
		}
	}
	var files []int
	if len(x.regions) == 0 { // otherwise they were closed when those were loaded
		files = x.leakedStill()
	}
	if len(list)+len(files) == 0 {
		return nil
	}
	err := x.whileRunning(ctx, func() error { return nil })
	switch {
	case errors.Is(err, tracer.ErrExec) || errors.Is(err, tracer.ErrGone): // with all its memory
	case err != nil && len(x.t.Threads()) == 0: // it cannot be stopped again
		for _, r := range x.retired {
			if r.state == retiredPending {
				r.state = retiredInUse
			}
		}
	case len(files) > 0 || x.o.oneByOne || !x.submitUnmap(list):
		x.unmap(ctx, list, files...)
	}
	return nil
}

// unmap gives memory back, and closes forgotten files. What the kernel does not take stays, and is
// found by the next change.
func (x *executor) unmap(ctx context.Context, list []mapping, files ...int) {
	var calls []tracer.Call
	for _, m := range list {
		calls = append(calls, call(unix.SYS_MUNMAP, m.base, m.size))
	}
	for _, fd := range files {
		calls = append(calls, call(unix.SYS_CLOSE, uint64(fd)))
	}
	for _, th := range x.callers() {
		free, err := x.unfiltered(th)
		if err != nil || x.t.Allowed(th, calls...) != nil {
			continue
		}
		err = x.withTimeout(ctx, func(ctx context.Context) error {
			return x.unmapIn(ctx, th, free, calls)
		})
		if !tryAnother(err) {
			return
		}
	}
}

// unmapIn has one thread make the calls. free says that it may make any.
func (x *executor) unmapIn(ctx context.Context, th *tracer.Thread, free bool,
	calls []tracer.Call) error {
	x.step("unmap")
	if free && !x.o.oneByOne {
		if err := x.unmapAtOnce(ctx, th, calls); !errors.Is(err, tracer.ErrNoBatch) {
			return err
		}
	}
	i := 0
	return x.t.Sequence(ctx, th, nil, func(uint64, []tracer.Result) (tracer.Call, bool) {
		x.step("unmap")
		if i == len(calls) {
			return tracer.Call{}, false
		}
		c := calls[i]
		i++
		return c, true
	})
}

// unmapAtOnce makes calls that give something back, and whose failure changes nothing.
func (x *executor) unmapAtOnce(ctx context.Context, th *tracer.Thread, calls []tracer.Call) error {
	_, err := x.t.Batch(ctx, th, nil, func(uint64) []tracer.BatchCall {
		list := make([]tracer.BatchCall, 0, len(calls))
		for _, c := range calls {
			list = append(list, tracer.BatchCall{Call: c})
		}
		return list
	})
	return err
}

// A thread with submitted calls makes them and returns by itself, without a second stop: that is
// half of the time for which the process is stopped. Nobody sees what the calls returned, so their
// effect is looked for while the process runs.

// maySubmit reports whether a thread may be given calls to make by itself: in a group stop nobody
// is let go in between, and filters that are suspended apply again to a thread that is not traced
// any more. Nor is it done where the thread would have to wait for a CPU that others have, which
// takes longer than a stop.
func (x *executor) maySubmit() bool {
	if x.o.SuspendSeccomp {
		return false
	}
	running := 0
	for _, th := range x.t.Threads() {
		if th.GroupStop {
			return false
		}
		if th.Running() {
			running++
		}
	}
	return running < max(2, runtime.NumCPU())
}

// submitUnmap has a thread unmap memory while it is let go, after everything else that is to be
// done. What the kernel does not take stays, as with [executor.unmap]. It reports whether a thread
// does it.
func (x *executor) submitUnmap(list []mapping) bool {
	if !x.maySubmit() {
		return false
	}
	for _, th := range x.callers() {
		if !undisturbed(th) {
			return false
		}
		if free, err := x.unfiltered(th); err != nil || !free {
			continue
		}
		x.step("unmap")
		err := x.t.Submit(th, nil, func(uint64) []tracer.BatchCall {
			var calls []tracer.BatchCall
			for _, m := range list {
				calls = append(calls, tracer.BatchCall{Call: call(unix.SYS_MUNMAP, m.base, m.size)})
			}
			return calls
		})
		if err == nil {
			x.t.AfterDetach(func() { x.waitUnmapped(list[len(list)-1]) })
		}
		if !errors.Is(err, tracer.ErrNoBatch) && !tryAnother(err) {
			return true // or the thread has ended
		}
	}
	return false
}

const (
	// unmapWait is how long to wait until memory is gone that a thread unmaps, which needs a CPU
	// for that.
	unmapWait = 100 * time.Millisecond
	// unmapPause is the pause between two looks whether it is gone.
	unmapPause = 10 * time.Microsecond
)

// waitUnmapped waits until memory is gone: the next look at the process after the change
// shall not find it.
func (x *executor) waitUnmapped(m mapping) {
	var b [1]byte
	for began := time.Now(); ; {
		if _, err := x.mem.ReadAt(b[:], int64(m.base)); err != nil {
			x.t.NoteStopped()
			return
		}
		if time.Since(began) > unmapWait {
			return
		}
		ts := unix.NsecToTimespec(unmapPause.Nanoseconds())
		_ = unix.Nanosleep(&ts, nil)
	}
}
