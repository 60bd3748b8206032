package native

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// surveyThreads looks where the threads are. It moves those that can be moved; another one in a
// zone is ErrAgain.
func (x *executor) surveyThreads() error {
	if len(x.zones) == 0 {
		return nil
	}
	s := zoneScan{x: x, lo: ^uint64(0)}
	for _, z := range x.zones {
		s.lo, s.hi = min(s.lo, z.lo), max(s.hi, z.hi)
	}
	for _, th := range x.t.Threads() {
		if err := x.moveOn(th); err != nil {
			return err
		}
		s.tid = th.TID
		switch err := x.stack.Scan(x.t, th, s.lo, s.hi, s.word, s.belowStack); {
		case errors.Is(err, tracer.ErrScan):
			return fmt.Errorf("%w: thread %d: %w", ErrAgain, th.TID, err)
		case err != nil:
			return err
		}
	}
	for _, r := range x.retired {
		if r.state == retiredInUse && r.calls != nil {
			r.calls.needed()
		}
	}
	return nil
}

// moveOn takes a thread past what it stands on, where that makes no difference to it.
func (x *executor) moveOn(th *tracer.Thread) error {
	for _, z := range x.zones {
		if pc := th.PC(); z.move != 0 && pc >= z.lo && pc < z.hi {
			x.step("move")
			return x.t.SetPC(th, z.move)
		}
	}
	return nil
}

// zoneScan looks for words that lead into zones.
type zoneScan struct {
	x      *executor
	lo, hi uint64 // of all zones
	tid    int
}

// word looks at what may be an address. pc reports whether the thread goes on there.
func (s *zoneScan) word(v uint64, pc bool) error {
	for _, z := range s.x.zones {
		switch {
		case v < z.lo || v >= z.hi:
		case !pc && slices.Contains(z.starts, v):
		case z.retired != nil:
			z.retired.needed()
		default:
			return &BusyError{TID: s.tid, Function: z.name}
		}
	}
	return nil
}

// belowStack looks at a word below the stack pointer, which a function that calls nobody may use.
// What leads to code there is what calls that are over have left, and would keep memory as long as
// the thread makes no deeper ones.
func (s *zoneScan) belowStack(v uint64) {
	for _, z := range s.x.zones {
		if z.retired != nil && v >= z.lo && v < z.hi && !z.retired.code(v) {
			z.retired.needed()
		}
	}
}
