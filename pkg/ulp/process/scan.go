package process

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/procfs"
)

// ScanOptions are the choices of Scan. The zero value works.
type ScanOptions struct {
	Options
	PIDs    []int         // the processes; default: all
	Workers int           // visits at the same time; default: twice the number of CPUs
	Timeout time.Duration // for each process, visit included; default 10 s
}

// A visit that takes longer than slow gives its place to the next one, so that processes which do not answer delay
// nobody. There are at most maxSlow of them.
const (
	slow    = 50 * time.Millisecond
	maxSlow = 256
)

// Scan looks at all processes, or at those that are named, and calls visit for each: with a Process, or with the
// [*LookError] that says why there is none. A process that is gone before it was looked at is an error only if it was
// named. visit is called by several goroutines at once and in no order; its context ends when the process's time is
// over. Scan returns when every visit has returned.
//
// The error is the context's, that of [Options.CheckProc], or that of reading the root of proc.
func Scan(ctx context.Context, o ScanOptions, visit func(ctx context.Context, p *Process, err error)) error {
	if err := o.CheckProc(); err != nil {
		return err
	}
	s := newScan(ctx, o, visit)
	defer s.wg.Wait()
	if o.PIDs != nil {
		for _, pid := range o.PIDs {
			if err := s.start(pid, true); err != nil {
				return err
			}
		}
		return nil
	}
	root, err := procfs.OpenAt(unix.AT_FDCWD, o.root(), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return lookError(0, o.root(), err)
	}
	defer procfs.File(root).Close()
	found := false
	err = procfs.EachNumber(procfs.File(root), func(pid int) error {
		found = true
		return s.start(pid, false)
	})
	if err == nil && !found {
		err = lookError(0, o.root(), ErrNoProc)
	}
	return err
}

type scan struct {
	ctx    context.Context
	o      ScanOptions
	visit  func(ctx context.Context, p *Process, err error)
	wg     sync.WaitGroup
	places chan struct{} // one element for each visit that has a place
	slow   chan struct{} // one for each that gave its place away
}

func newScan(ctx context.Context, o ScanOptions, visit func(ctx context.Context, p *Process, err error)) *scan {
	if o.Workers <= 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return &scan{ctx: ctx, o: o, visit: visit, places: make(chan struct{}, o.Workers), slow: make(chan struct{}, maxSlow)}
}

// start waits for a place and visits the process in it.
func (s *scan) start(pid int, named bool) error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	select {
	case s.places <- struct{}{}:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	s.wg.Go(func() {
		leave := s.enter()
		defer leave()
		ctx, cancel := context.WithTimeout(s.ctx, s.o.Timeout)
		defer cancel()
		p, err := Look(ctx, pid, s.o.Options)
		if errors.Is(err, ErrGone) && !named {
			return
		}
		s.visit(ctx, p, err)
	})
	return nil
}

// enter arranges that the place is given away when the visit takes too long. The result is called at its end.
func (s *scan) enter() (leave func()) {
	var (
		mu   sync.Mutex
		held = s.places // from which one element is taken at the end; nil after that
	)
	timer := time.AfterFunc(slow, func() {
		mu.Lock()
		defer mu.Unlock()
		if held == nil {
			return
		}
		select {
		case s.slow <- struct{}{}:
			held = s.slow
			<-s.places
		default: // too many: it keeps its place
		}
	})
	return func() {
		timer.Stop()
		mu.Lock()
		defer mu.Unlock()
		<-held
		held = nil
	}
}
