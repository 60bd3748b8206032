package native

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// unmap gives memory back, and closes forgotten files. What the kernel does not take stays, and is found by the next
// change.
func (r *run) unmap(ctx context.Context, list []*freed, files ...int) {
	var calls []tracer.Call
	for _, f := range list {
		calls = append(calls, call(unix.SYS_MUNMAP, f.base, f.size))
	}
	for _, fd := range files {
		calls = append(calls, call(unix.SYS_CLOSE, uint64(fd)))
	}
	for _, th := range r.byEase() {
		free, err := r.unfiltered(th)
		if err != nil || r.t.Allowed(th, calls...) != nil {
			continue
		}
		if !elsewhere(r.calling(ctx, func(ctx context.Context) error { return r.unmapIn(ctx, th, free, calls) })) {
			return
		}
	}
}

func (r *run) unmapIn(ctx context.Context, th *tracer.Thread, free bool, calls []tracer.Call) error {
	r.step("unmap")
	if free && !r.o.oneByOne {
		if err := r.unmapAtOnce(ctx, th, calls); !errors.Is(err, tracer.ErrNoBatch) {
			return err
		}
	}
	i := 0
	return r.t.Sequence(ctx, th, nil, func(uint64, []tracer.Result) (tracer.Call, bool) {
		r.step("unmap")
		if i == len(calls) {
			return tracer.Call{}, false
		}
		c := calls[i]
		i++
		return c, true
	})
}

// free unmaps what no thread needs. Nothing leads there any more, so threads that were running may go on before that.
func (r *run) free(ctx context.Context) {
	var list []*freed
	for _, f := range r.frees {
		if !f.inUse && !f.done {
			list = append(list, f)
		}
	}
	var files []int
	if len(r.regions) == 0 { // otherwise they were closed when those were loaded
		files = r.forgotten()
	}
	if len(list)+len(files) == 0 {
		return
	}
	err := r.meanwhile(ctx, func() error { return nil })
	switch {
	case errors.Is(err, tracer.ErrExec) || errors.Is(err, tracer.ErrGone): // with all its memory
	case err != nil && len(r.t.Threads()) == 0: // it cannot be stopped again: a later change does it
		for _, f := range list {
			f.inUse = true
		}
	case len(files) > 0 || r.o.oneByOne || !r.giveBack(list):
		r.unmap(ctx, list, files...)
	}
}

// unmapAtOnce makes calls that give something back, and whose failure changes nothing.
func (r *run) unmapAtOnce(ctx context.Context, th *tracer.Thread, calls []tracer.Call) error {
	_, err := r.t.Batch(ctx, th, nil, func(uint64) []tracer.BatchCall {
		list := make([]tracer.BatchCall, 0, len(calls))
		for _, c := range calls {
			list = append(list, tracer.BatchCall{Call: c})
		}
		return list
	})
	return err
}

// A thread that is sent makes its calls and goes home by itself, without a second stop: that is half of what standing still
// costs. What the calls returned nobody sees, so it is looked at what they did while the process runs.

// canSend reports whether a thread may be sent at all: in a group stop nobody is let go in between, and filters that are
// suspended apply again to one that is not traced any more. Nor is it sent where it would have to wait for a CPU that others
// have, which takes longer than a stop.
func (r *run) canSend() bool {
	if r.o.SuspendSeccomp {
		return false
	}
	running := 0
	for _, th := range r.t.Threads() {
		if th.GroupStop {
			return false
		}
		if th.Running() {
			running++
		}
	}
	return running < max(2, runtime.NumCPU())
}

// sentPace is how often it is looked at what a thread that was sent has done.
const sentPace = 10 * time.Microsecond

// until waits for something that is about to happen, and says whether it did.
func (r *run) until(most time.Duration, f func() bool) bool {
	for began := time.Now(); !f(); {
		if time.Since(began) > most {
			return false
		}
		ts := unix.NsecToTimespec(sentPace.Nanoseconds())
		_ = unix.Nanosleep(&ts, nil)
	}
	return true
}

// giveBack has a thread give memory back while it is let go, behind everything else that is to be done. What the kernel does
// not take stays, as with [run.unmap].
func (r *run) giveBack(list []*freed) bool {
	if !r.canSend() {
		return false
	}
	for _, th := range r.byEase() {
		if !easy(th) {
			return false
		}
		if free, err := r.unfiltered(th); err != nil || !free {
			continue
		}
		r.step("unmap")
		err := r.t.Submit(th, nil, func(uint64) []tracer.BatchCall {
			var calls []tracer.BatchCall
			for _, f := range list {
				calls = append(calls, tracer.BatchCall{Call: call(unix.SYS_MUNMAP, f.base, f.size)})
			}
			return calls
		})
		if err == nil {
			r.t.AfterDetach(func() { r.goneSoon(list[len(list)-1]) })
		}
		if !errors.Is(err, tracer.ErrNoBatch) && !elsewhere(err) {
			return true // or the thread has ended
		}
	}
	return false
}

// goneWait is how long to wait until memory is gone that a thread gives back, which needs a CPU for that.
const goneWait = 100 * time.Millisecond

// goneSoon waits until memory is gone: who looks at the process when the change is over shall not find it.
func (r *run) goneSoon(f *freed) {
	var b [1]byte
	if r.until(goneWait, func() bool { _, err := r.mem.ReadAt(b[:], int64(f.base)); return err != nil }) {
		r.t.NoteStopped()
	}
}
