package tracer

import (
	"context"
)

// Sequence makes the target's thread th carry out system calls as [Tracee.Syscalls] does, but each may depend on the
// results of those before: next is asked for one after the other, with all results up to then, until it returns false.
// A call that failed is only another result; what to do about it (to unmap what was mapped, say) is next's decision.
//
// data lies in the target's memory meanwhile, for calls that take pointers; at is its address, a multiple of 16. There should
// not be much of it. If this process dies, it stays there, in memory that nothing uses.
//
// next runs on the thread that owns the tracee: the rules of [Tracee.Do] apply, and other methods that send th somewhere
// must not be called from it. Errors are those of Syscalls.
func (t *Tracee) Sequence(ctx context.Context, th *Thread, data []byte, next func(at uint64, done []Result) (Call, bool)) error {
	return t.Do(func() error {
		if err := t.prepareWith(th, uint64(len(data))+16, func(ex *excursion) { ex.sigframe.prepend(data) }); err != nil {
			return err
		}
		th.excursion.xstate = nil // no system call changes it
		var err error
		var results []Result
		for at := th.excursion.sigframe.base; err == nil; {
			c, more := next(at, results)
			if !more {
				break
			}
			var r Result
			if r, err = t.syscall(ctx, th, c); err != nil {
				err = t.fail(callName(c.Nr), th.TID, err)
				break
			}
			results = append(results, r)
		}
		if !th.stopped || th.excursion == nil {
			return err
		}
		if back := t.restore(th); err == nil {
			err = back
		}
		return err
	})
}

// prepend puts data below the sigframe, at an address that is a multiple of 16.
func (f *sigframe) prepend(data []byte) {
	base := (f.base - uint64(len(data))) &^ 15
	b := f.scratch.take(int(f.base-base) + len(f.data))
	copy(b, data)
	copy(b[f.base-base:], f.data)
	f.data, f.base = b, base
}
