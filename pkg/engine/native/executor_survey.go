package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// survey is the first phase. It compares the process with what the plan was made for, now that
// nothing moves any more, and changes nothing but the program counters of threads in the NOPs
// before a function.
func (x *executor) survey(context.Context) error {
	if err := x.submitted(); err != nil {
		return err
	}
	if err := x.late(); err != nil {
		return err
	}
	if err := x.compareProcess(); err != nil {
		return err
	}
	return x.late()
}

// submitted returns ErrAgain if a thread still maps or unmaps for an earlier change: the memory
// would not stay as it is now.
func (x *executor) submitted() error {
	for _, th := range x.t.Threads() {
		switch yes, err := x.t.IsSubmitted(th); {
		case err != nil:
			return err
		case yes:
			return fmt.Errorf("thread %d still works for an earlier change: %w", th.TID, ErrAgain)
		}
	}
	return nil
}

// compareProcess compares everything, and looks where the threads are, and whether they are all
// that runs there.
func (x *executor) compareProcess() error {
	if err := x.unshared(); err != nil {
		return err
	}
	if err := x.compare(x.expect); err != nil {
		return err
	}
	if err := x.orphaned(); err != nil {
		return err
	}
	for _, r := range x.retired {
		if r.state == retiredInUse {
			r.state = retiredPending
		}
	}
	x.step("look")
	return x.surveyThreads()
}

// unshared returns an error if another process has the memory, or may have it.
func (x *executor) unshared() error {
	threads := x.t.Threads()
	if len(threads) == 0 {
		return nil
	}
	switch other, err := x.since.Sharer(x.p.PID, threads[0].TID); {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrStale, err)
	case other != 0:
		return &SharedError{other}
	}
	return nil
}

// compare returns ErrStale if the memory is not as it was when the plan was made.
func (x *executor) compare(expect []write) error {
	for len(expect) > 0 {
		n, end := together(expect)
		from := expect[0].addr
		b := x.buf[:min(end-from, uint64(len(x.buf)))]
		if _, err := x.mem.ReadAt(b, int64(from)); err != nil {
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

// together returns how many of the first ones are to be read at once, and up to where: those that
// follow the first one in the same page, as the entries of functions do.
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

// orphaned returns ErrStale if a function leads to a table that is to be given back without a look
// at its library: that was not there when the plan was made.
func (x *executor) orphaned() error {
	for _, t := range x.orphans {
		led, _, err := t.leads(func(b []byte, addr uint64) error {
			_, err := x.mem.ReadAt(b, int64(addr))
			if errors.Is(err, unix.EIO) { // nothing is mapped there
				return process.ErrUnreadable
			}
			return err
		})
		if err != nil {
			return err
		}
		if led {
			return fmt.Errorf("the library at %#x is there again: %w", t.bias, ErrStale)
		}
	}
	return nil
}
