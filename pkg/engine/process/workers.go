package process

import (
	"context"
	"sync/atomic"
)

// maxIdle is how many goroutines wait for work that is to come.
const maxIdle = 32

// workers are goroutines that have looked at processes before. Their stacks have grown to what that
// needs; to let the stack of a new one grow, in several steps, takes a twentieth of a look.
type workers struct {
	work  chan func()
	ended chan struct{}
	idle  atomic.Int32
}

// workersKey marks a context with workers.
type workersKey struct{}

// WithWorkers returns a context under which the methods of this package share goroutines. end lets
// those go that are idle.
func WithWorkers(ctx context.Context) (_ context.Context, end func()) {
	w := &workers{work: make(chan func()), ended: make(chan struct{})}
	return context.WithValue(ctx, workersKey{}, w), func() { close(w.ended) }
}

// spawn is the go statement, by one of the context's workers if it has any.
func spawn(ctx context.Context, f func()) {
	w, _ := ctx.Value(workersKey{}).(*workers)
	if w == nil {
		go f()
		return
	}
	select {
	case w.work <- f:
	default:
		go w.serve(f)
	}
}

func (w *workers) serve(f func()) {
	for {
		f()
		if w.idle.Add(1) > maxIdle {
			w.idle.Add(-1)
			return
		}
		select {
		case f = <-w.work:
			w.idle.Add(-1)
		case <-w.ended:
			return
		}
	}
}
