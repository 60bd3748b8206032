package process

import (
	"context"
	"sync/atomic"
)

// maxStuck is how many calls may hang in the kernel at the same time. Each keeps a thread of ours,
// which nothing but the process that it waits for can set free.
const maxStuck = 1000

// stuck counts the calls that were left behind and have not come back yet.
var stuck atomic.Int64

// wholeKey marks the context of a function that is awaited as a whole.
type wholeKey struct{}

// Whole runs f, and leaves it behind when ctx ends first, as every method of this package does. In
// f, with the context that it is given, they need not do so each for itself, which takes longer
// than most of what they do. f must own all that it changes, since it may still be at it when Whole
// has returned.
func Whole[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	return await(ctx, func() (T, error) { return f(context.WithValue(ctx, wholeKey{}, true)) })
}

// direct marks a ctx whose calls need not be abandoned one by one: nothing waits for them, or the
// caller abandons all of them at once.
func direct(ctx context.Context) bool { return ctx.Done() == nil || ctx.Value(wholeKey{}) != nil }

// await runs f, and leaves it behind when ctx ends first: reading below /proc waits for locks and
// pages of the process, and a process can see to it that they never come. f must own all that it
// touches, and close what it opens.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	if direct(ctx) {
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
	spawn(ctx, func() {
		v, err := f()
		select {
		case done <- result{v, err}:
		case <-left:
			stuck.Add(-1)
		}
	})
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		stuck.Add(1)
		close(left)
		return zero, ctx.Err()
	}
}
