package native

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// stepwise makes one thread of the process carry a script out, call by call. If one fails, what was
// done is taken back.
type stepwise struct {
	x      *executor
	th     *tracer.Thread
	script *script
	made   tracer.Call // the last one
	done   []tracer.Result
	files  []uint64 // that are open
	err    error    // why it goes back
}

// next is asked for one call after the other: the scripted ones, or those that go back.
func (w *stepwise) next(data uint64, results []tracer.Result) (tracer.Call, bool) {
	if len(results) > 0 && w.err == nil {
		w.took(results[len(results)-1])
	}
	w.x.step("load")
	if w.err == nil {
		if len(w.done) == len(w.script.calls) {
			return tracer.Call{}, false
		}
		w.made = w.script.next(len(w.done), data, w.done)
		if w.err = w.allowed(w.made); w.err == nil {
			return w.made, true
		}
	}
	return w.back()
}

// took looks at what the last call returned.
func (w *stepwise) took(res tracer.Result) {
	c := &w.script.calls[len(w.done)]
	w.done = append(w.done, res)
	switch {
	case res.Errno != 0 || res.Denied:
	case c.Nr == unix.SYS_MMAP:
		w.x.noteMapped(res.Value, c.Args[1])
	case c.opens:
		w.files = append(w.files, res.Value)
	case c.Nr == unix.SYS_CLOSE && c.Arg > 0:
		w.files = w.files[:len(w.files)-1]
	}
	w.err = c.failed(w.made, res)
}

// leastFile is a descriptor that the next file may have.
const leastFile = 3

// precheck asks the filters about calls like those that will be made, those that go back and the
// way back included, before the first one is made.
func (w *stepwise) precheck() error {
	calls := []tracer.Call{call(unix.SYS_MUNMAP), call(unix.SYS_RT_SIGRETURN)}
	guess := make([]tracer.Result, len(w.script.calls))
	for i := range guess {
		guess[i].Value = leastFile
	}
	for i := range w.script.calls {
		calls = append(calls, w.script.next(i, 0, guess))
	}
	return w.allowed(calls...)
}

func (w *stepwise) allowed(calls ...tracer.Call) error {
	return allowed(w.x.t.Allowed(w.th, calls...))
}

// allowed translates the tracer's verdict.
func allowed(err error) error {
	if errors.Is(err, tracer.ErrSeccomp) {
		return fmt.Errorf("%w: %w", ErrSeccomp, err)
	}
	return err
}

// back returns the calls that take back what was done.
func (w *stepwise) back() (tracer.Call, bool) {
	if n := len(w.files); n > 0 {
		fd := w.files[n-1]
		w.files = w.files[:n-1]
		return call(unix.SYS_CLOSE, fd), true
	}
	if n := len(w.x.mapped); n > 0 {
		m := w.x.mapped[n-1]
		w.x.mapped = w.x.mapped[:n-1]
		return call(unix.SYS_MUNMAP, m.base, m.size), true
	}
	return tracer.Call{}, false
}
