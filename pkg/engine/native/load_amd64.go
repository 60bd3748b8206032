package native

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// elsewhere says that another thread may be able to make calls which this one cannot make.
func elsewhere(err error) bool {
	return errors.Is(err, tracer.ErrStack) || errors.Is(err, tracer.ErrDispatched) || errors.Is(err, ErrSeccomp)
}

// load maps the regions, in the first way that the process permits.
func (r *run) load(ctx context.Context) error {
	var refused []error
	for _, w := range ways {
		if r.o.load != "" && r.o.load != w.name {
			continue
		}
		if w.applies != nil {
			if err := w.applies(r); err != nil {
				refused = append(refused, err)
				continue
			}
		}
		err := r.loadBy(ctx, w)
		if err == nil {
			r.full = w.full
			return nil
		}
		refused = append(refused, err)
		if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) && !errors.Is(err, ErrSeccomp) {
			if !errors.Is(err, ErrRefused) {
				return err // whatever the others said
			}
			break
		}
		if len(r.mapped) > 0 { // a part of it
			r.unmap(ctx, r.mapped)
			r.mapped = nil
		}
	}
	return refusals(refused)
}

// mayGrow reports whether the process may make files as large as a memory file. The kernel sends SIGXFSZ to one that tries. To ask
// it with prlimit(2) would need CAP_SYS_RESOURCE where the process is another user's.
func (r *run) mayGrow() error {
	limit, err := fileSizeLimit(r.p.PID)
	if err != nil {
		return fmt.Errorf("its limit of file sizes is unknown: %w: %w", ErrRefused, err)
	}
	if slices.ContainsFunc(r.regions, func(rg *region) bool { return rg.size > limit }) {
		return fmt.Errorf("a memory file: its limit of file sizes is %d bytes (ulimit -f): %w", limit, ErrRefused)
	}
	return nil
}

func fileSizeLimit(pid int) (soft uint64, err error) {
	dir, err := procfs.Open(procfs.Root, pid)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	soft, _, err = dir.Limit(pid, procfs.LimitFileSize)
	return soft, err
}

// hasFiles reports whether each region has a file that it may be mapped from.
func (r *run) hasFiles() error {
	pieces := 0
	for _, rg := range r.regions {
		if rg.noFile != nil {
			return rg.noFile
		}
		pieces += len(rg.pieces(rg.file))
	}
	if pieces > maxPieces {
		return fmt.Errorf("the files are too small to be mapped for all libraries: %w", ErrRefused)
	}
	return nil
}

// loadBy tries the threads one after the other: one may have no room on its stack, or a filter that others do not have.
func (r *run) loadBy(ctx context.Context, w *way) error {
	if !r.roomy() {
		return ErrStale
	}
	s := &script{}
	s.giveBack(r.forgotten(), r.idle())
	for _, rg := range r.regions {
		w.bring(s, rg)
	}
	var first error
	for _, th := range r.byEase() {
		err := r.calling(ctx, func(ctx context.Context) error { return r.loadIn(ctx, th, s) })
		if err == nil {
			for _, f := range r.idle() {
				f.done = true
			}
			if w.check == nil {
				return nil
			}
			r.step("check")
			return w.check(r)
		}
		if first == nil {
			first = err
		}
		if !elsewhere(err) {
			return err
		}
	}
	return first
}

// roomy says whether all that the regions need is free.
func (r *run) roomy() bool {
	return !slices.ContainsFunc(r.regions, func(rg *region) bool {
		free, err := r.t.Free(tracer.Range{Start: rg.base, End: rg.end()})
		return err != nil || !free
	})
}

// idle returns the memory that may go before anything is loaded.
func (r *run) idle() []*freed {
	return slices.DeleteFunc(slices.Clone(r.frees), func(f *freed) bool { return !f.idle || f.inUse || f.done })
}

// byEase returns the threads, those that were not interrupted in a system call first: they come back faster.
func (r *run) byEase() []*tracer.Thread {
	var first, others []*tracer.Thread
	for _, th := range r.t.Threads() {
		if easy(th) {
			first = append(first, th)
		} else {
			others = append(others, th)
		}
	}
	return append(first, others...)
}

// easy says that a thread was not interrupted in a system call.
func easy(th *tracer.Thread) bool {
	regs := th.Registers()
	return int64(regs.Orig_rax) < 0 && !th.GroupStop
}

func (r *run) loadIn(ctx context.Context, th *tracer.Thread, s *script) error {
	r.step("filters")
	free, err := r.unfiltered(th)
	if err != nil {
		return err
	}
	if free && !r.o.oneByOne { // otherwise each call is looked at before it is made
		if err := r.loadAtOnce(ctx, th, s); !errors.Is(err, tracer.ErrNoBatch) {
			return err
		}
	}
	l := &loader{r: r, th: th, script: s}
	if err := l.precheck(); errors.Is(err, ErrSeccomp) {
		l.script = s.hinted()
		if l.precheck() != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if err := r.t.Sequence(ctx, th, l.script.data, l.next); err != nil {
		return err
	}
	return l.err
}

// loadAtOnce maps the regions with all system calls in one go: a stop between two calls takes as long as all of them.
// tracer.ErrNoBatch: it has to be done one by one.
func (r *run) loadAtOnce(ctx context.Context, th *tracer.Thread, s *script) error {
	r.step("load")
	results, err := r.t.Batch(ctx, th, s.data, s.at)
	if err != nil {
		return err
	}
	r.step("loaded")
	var first error
	for i, res := range results {
		c := &s.calls[i]
		if res.Errno == 0 && c.Nr == unix.SYS_MMAP {
			r.took(res.Value, c.Args[1])
		}
		if err := c.failed(c.Call, res); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// took notes what was mapped, unless it is a part of what was mapped before.
func (r *run) took(base, size uint64) {
	if !slices.ContainsFunc(r.mapped, func(f *freed) bool { return base-f.base < f.size }) {
		r.mapped = append(r.mapped, &freed{base: base, size: size})
	}
}

// loader makes one thread of the process carry a script out, call by call. If one fails, what was done is taken back.
type loader struct {
	r      *run
	th     *tracer.Thread
	script *script
	made   tracer.Call // the last one
	done   []tracer.Result
	files  []uint64 // that are open
	err    error    // why it goes back
}

// next is asked for one call after the other: the scripted ones, or those that go back.
func (l *loader) next(data uint64, results []tracer.Result) (tracer.Call, bool) {
	if len(results) > 0 && l.err == nil {
		l.took(results[len(results)-1])
	}
	l.r.step("load")
	if l.err == nil {
		if len(l.done) == len(l.script.calls) {
			return tracer.Call{}, false
		}
		l.made = l.script.next(len(l.done), data, l.done)
		if l.err = l.allowed(l.made); l.err == nil {
			return l.made, true
		}
	}
	return l.back()
}

// took looks at what the last call returned.
func (l *loader) took(res tracer.Result) {
	c := &l.script.calls[len(l.done)]
	l.done = append(l.done, res)
	switch {
	case res.Errno != 0 || res.Denied:
	case c.Nr == unix.SYS_MMAP:
		l.r.took(res.Value, c.Args[1])
	case c.opens:
		l.files = append(l.files, res.Value)
	case c.Nr == unix.SYS_CLOSE && c.Arg > 0:
		l.files = l.files[:len(l.files)-1]
	}
	l.err = c.failed(l.made, res)
}

// leastFile is a descriptor that the next file may have.
const leastFile = 3

// precheck asks the filters about calls like those that will be made, those that go back and the way home included, before
// the first one is made.
func (l *loader) precheck() error {
	calls := []tracer.Call{call(unix.SYS_MUNMAP), call(unix.SYS_RT_SIGRETURN)}
	guess := make([]tracer.Result, len(l.script.calls))
	for i := range guess {
		guess[i].Value = leastFile
	}
	for i := range l.script.calls {
		calls = append(calls, l.script.next(i, 0, guess))
	}
	return l.allowed(calls...)
}

func (l *loader) allowed(calls ...tracer.Call) error { return allowed(l.r.t.Allowed(l.th, calls...)) }

// allowed translates the tracer's verdict.
func allowed(err error) error {
	if errors.Is(err, tracer.ErrSeccomp) {
		return fmt.Errorf("%w: %w", ErrSeccomp, err)
	}
	return err
}

// unfiltered says whether a thread may make any system call.
func (r *run) unfiltered(th *tracer.Thread) (bool, error) {
	mode, err := r.t.Seccomp(th)
	return mode == tracer.SeccompNone || r.o.SuspendSeccomp, err
}

// back returns the calls that take back what was done.
func (l *loader) back() (tracer.Call, bool) {
	if n := len(l.files); n > 0 {
		fd := l.files[n-1]
		l.files = l.files[:n-1]
		return call(unix.SYS_CLOSE, fd), true
	}
	if n := len(l.r.mapped); n > 0 {
		m := l.r.mapped[n-1]
		l.r.mapped = l.r.mapped[:n-1]
		return call(unix.SYS_MUNMAP, m.base, m.size), true
	}
	return tracer.Call{}, false
}
