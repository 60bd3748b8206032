package process

import (
	"context"
	"sync/atomic"
)

// maxStuck is how many calls may hang in the kernel at the same time. Each keeps a thread of ours, which nothing but the
// process that it waits for can set free.
const maxStuck = 1000

// stuck counts the calls that were left behind and have not come back yet.
var stuck atomic.Int64

// await runs f, and leaves it behind when ctx ends first: reading below /proc waits for locks and pages of the process,
// and a process can see to it that they never come. f must own all that it touches, and close what it opens.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	if ctx.Done() == nil {
		return f()
	}
	if stuck.Load() >= maxStuck {
		return zero, ErrBusy
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result)
	left := make(chan struct{})
	go func() {
		v, err := f()
		select {
		case done <- result{v, err}:
		case <-left:
			stuck.Add(-1)
		}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		stuck.Add(1)
		close(left)
		return zero, ctx.Err()
	}
}
