package process

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// ScanOptions are the choices of Scan. The zero value works.
type ScanOptions struct {
	Options
	PIDs []int // the processes; default: all
	// those that are begun before others of the same user: an earlier scan did not reach them
	First   []int
	Workers int           // visits at the same time; default: twice the number of CPUs
	Timeout time.Duration // for each process, from its first visit on; default 10 s

	// Meant reports whether a process may be meant, by what can be seen without waiting for it. One
	// that is not is neither looked at nor visited. nil means all.
	Meant func(Glance) bool

	// Changed reports whether visits have changed a process since its last call. If it is set and
	// PIDs is nil, processes that begin during the scan are visited as well, since a child has the
	// memory that its parent had when it was forked.
	Changed func() bool
}

// A visit that takes longer than slow gives its place to the next one, so that processes which do
// not answer delay nobody. At most maxSlow of them are under way, and as many of root's own.
const (
	slow    = 50 * time.Millisecond
	maxSlow = 256
)

// maxShare bounds the visits under way, and maxWaiting those that wait for another turn, of the
// processes of one user other than root. maxAllWaiting bounds the latter for all users together,
// and for root.
const (
	maxShare      = 32
	maxWaiting    = 1 << 10
	maxAllWaiting = 1 << 14
)

// Later is another visit to a process, after a pause in which it holds no place. Visit is called
// exactly once. If there is to be no further turn, because the process's time is over, the scan has
// ended, or too many others wait, its context has ended already.
type Later struct {
	Pause time.Duration
	Visit func(ctx context.Context) *Later
}

// UnbegunError is why a scan did not begin all processes. It wraps the cause of its context's end,
// or [ErrForking].
type UnbegunError struct {
	PIDs []int // that were not begun, in ascending order
	Err  error
}

// Error returns the number of processes and the reason.
func (e *UnbegunError) Error() string {
	return fmt.Sprintf("%d processes were not begun: %v", len(e.PIDs), e.Err)
}

// Unwrap returns the reason.
func (e *UnbegunError) Unwrap() error { return e.Err }

// Scan looks at all processes, or at those that are named, and calls visit for each: with a
// Process, or with the [*LookError] that says why there is none. A process that is gone before it
// was looked at is an error only if it was named. visit is called by several goroutines at once;
// its context ends when the process's time is over. Scan returns when every visit has returned.
//
// Processes of root are begun first, then those that run with other rights than those of the user
// who started them, then all others, user by user in turn; those of one user in the order of their
// PIDs.
//
// The error is an [*UnbegunError] with the cause of ctx's end or with [ErrForking], that of
// [Options.CheckProc], or that of reading the root of proc.
func Scan(ctx context.Context, o ScanOptions, visit func(ctx context.Context, p *Process,
	err error)) error {
	return ScanRetry(ctx, o, func(ctx context.Context, p *Process, err error) *Later {
		visit(ctx, p, err)
		return nil
	})
}

// retryShare is how many turns there are for each one that goes to a second or later visit while
// some processes have not had their first one: so that what was busy for a moment only is not left
// behind by a crowd of others.
const retryShare = 4

// ScanRetry is Scan for visits that may have to be repeated. First visits go before all others but
// for one turn in four: processes that their users keep from being patched do not delay those of
// others.
func ScanRetry(ctx context.Context, o ScanOptions, visit func(ctx context.Context, p *Process,
	err error) *Later) error {
	if err := o.CheckProc(); err != nil {
		return err
	}
	s := newScan(ctx, o, visit)
	if err := s.list(ctx); err != nil {
		return err
	}
	return s.run()
}

// scan belongs to the goroutine of run; a task that is under way belongs to its own.
type scan struct {
	ctx          context.Context
	o            ScanOptions
	visit        func(ctx context.Context, p *Process, err error) *Later
	owners       *owners
	first, later queue
	running      []*task
	busy         map[account]int // visits under way
	turns        int             // visits that were begun
	slow         [2]int          // visits that gave their place away; the second one of root's
	ended        chan *task
	new          newcomers
}

// task is a process that is to be visited.
type task struct {
	pid      int
	named    bool
	start    uint64 // time, of the process that was visited; 0 if it cannot be known
	gone     bool   // there was no process
	owner    owner
	unsorted bool      // owner is a guess
	found    owner     // what it turned out to be
	at       time.Time // of its next turn
	order    int       // among those of one time
	until    time.Time // when its time is over; zero before its first visit
	begun    time.Time // of the visit that is under way
	slow     bool      // that has no place any more
	again    func(ctx context.Context) *Later
	next     *Later // what the visit has returned
}

func newScan(ctx context.Context, o ScanOptions, visit func(ctx context.Context, p *Process,
	err error) *Later) *scan {
	if o.Workers <= 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return &scan{ctx: ctx, o: o, visit: visit, owners: newOwners(o.root()), busy: map[account]int{},
		ended: make(chan *task, o.Workers), new: newcomers{seen: map[int]uint64{}}}
}

// run visits all processes, again those that want it, and those that begin meanwhile, until nothing
// is left or the context ends.
func (s *scan) run() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.ctx.Err() == nil {
		now := time.Now()
		s.releasePlaces(now)
		for s.places() > 0 && s.beginNext(now) {
		}
		switch {
		case len(s.running) == 0 && s.first.n == 0 && s.later.n == 0:
			switch err := s.listAgain(now); {
			case errors.Is(err, ErrForking):
				return s.unbegun(err)
			case s.ctx.Err() == nil && (err != nil || s.first.n == 0):
				return err
			}
			continue
		case s.wantsEarly():
			s.listEarly()
			continue
		}
		timer.Reset(time.Until(s.nextEvent(now)))
		select {
		case t := <-s.ended:
			s.end(t)
		case <-timer.C:
		case <-s.ctx.Done():
		}
	}
	for s.later.n > 0 {
		s.over(s.later.take(time.Time{}, nil))
	}
	for len(s.running) > 0 {
		s.end(<-s.ended)
	}
	if s.follows() {
		if err := s.list(context.WithoutCancel(s.ctx)); err != nil {
			return err
		}
	}
	return s.unbegun(context.Cause(s.ctx))
}

// unbegun returns an error about the processes that are left.
func (s *scan) unbegun(why error) error {
	if s.first.n == 0 {
		return nil
	}
	e := &UnbegunError{Err: why}
	for s.first.n > 0 {
		e.PIDs = append(e.PIDs, s.first.take(time.Time{}, nil).pid)
	}
	slices.Sort(e.PIDs)
	return e
}

// places returns how many visits can begin.
func (s *scan) places() int { return s.o.Workers - len(s.running) + s.slow[0] + s.slow[1] }

// releasePlaces takes the place of each visit that is slow, unless there are too many of them.
func (s *scan) releasePlaces(now time.Time) {
	for _, t := range s.running {
		if n := &s.slow[t.owner.budget()]; !t.slow && now.Sub(t.begun) >= slow && *n < maxSlow {
			t.slow = true
			*n++
		}
	}
}

// beginNext begins a visit; false if there is none that can begin now.
func (s *scan) beginNext(now time.Time) bool {
	may := func(o owner) bool { return o.class == ofRoot || s.busy[o.account] < maxShare }
	one, other := &s.first, &s.later
	if s.turns%retryShare == retryShare-1 {
		one, other = other, one
	}
	t := one.take(now, may)
	if t == nil {
		t = other.take(now, may)
	}
	if t == nil {
		return false
	}
	s.turns++
	if t.begun, t.slow = now, false; t.until.IsZero() {
		t.until = now.Add(s.o.Timeout)
	}
	s.running = append(s.running, t)
	s.busy[t.owner.account]++
	spawn(s.ctx, func() {
		t.next = s.turn(t)
		s.ended <- t
	})
	return true
}

// turn is one visit.
func (s *scan) turn(t *task) *Later {
	ctx, cancel := context.WithDeadline(s.ctx, t.until)
	defer cancel()
	if t.again != nil {
		return t.again(ctx)
	}
	kept := &visit{}
	defer kept.end()
	if d, err := openDir(s.o.root(), t.pid); err == nil {
		kept.dir = &d
		if s.o.Meant != nil && !s.o.Meant(Glance{d}) {
			t.start = notMeant
			return nil
		}
	}
	first, found := s.begin(ctx, t.pid, kept)
	if first.stat != nil {
		t.start = first.stat.Start // if the look fails for another one, that is still new
	}
	if t.unsorted { // to be put back if it turns out to be another user's
		t.found = found
		if t.unsorted = t.found != t.owner; t.unsorted {
			return nil
		}
	}
	if first.status == nil {
		p, err := Look(ctx, t.pid, s.o.Options) // which finds out why
		return s.seen(ctx, t, p, err)
	}
	p, err := await(ctx, func() (*Process, error) {
		d, ok := kept.share()
		if !ok {
			return nil, ErrClosed // nobody waits for it any more
		}
		defer d.Close()
		return lookIn(ctx, d, s.o.Options, first)
	})
	if err == nil {
		p.visit = kept
	}
	return s.seen(ctx, t, p, lookError(t.pid, "process", err))
}

// patience is how long to wait for a process where others wait as well. Within exec it answers
// nobody: since Linux 6.18 or so, even reading stat and looking at the links of namespaces takes
// exec_update_lock, which exec holds until the former memory is given back. That takes as long as
// what the kernel still reads or writes for it, for ever with a file system that does not answer.
const patience = 100 * time.Millisecond

// begin begins to look at a process, and finds its owner. A process that does not answer is
// missing, and of those that do not.
func (s *scan) begin(ctx context.Context, pid int, v *visit) (firstLook, owner) {
	type begun struct {
		first firstLook
		owner owner
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b, err := await(ctx, func() (b begun, err error) {
		if d, ok := v.share(); ok {
			defer d.Close()
			b.first, _ = d.firstLook()
		}
		b.owner = s.owners.of(pid, b.first.status)
		return b, nil
	})
	if err != nil {
		b.owner = silentOwner(v)
	}
	return b.first, b.owner
}

// seen calls visit for a process that was looked at.
func (s *scan) seen(ctx context.Context, t *task, p *Process, err error) *Later {
	if t.gone = errors.Is(err, ErrGone); t.gone && !t.named {
		return nil
	}
	if err == nil {
		t.start = p.StartTime
	}
	return s.visit(ctx, p, err)
}

// end takes in a visit that has returned.
func (s *scan) end(t *task) {
	s.running = slices.DeleteFunc(s.running, func(r *task) bool { return r == t })
	if s.busy[t.owner.account]--; s.busy[t.owner.account] == 0 {
		delete(s.busy, t.owner.account)
	}
	if t.slow {
		s.slow[t.owner.budget()]--
		// its children may have come after the early listing
		s.new.early = s.new.early && t.again != nil
	}
	if !t.unsorted {
		s.note(t)
	}
	switch {
	case t.unsorted:
		t.owner, t.unsorted, t.until = t.found, false, time.Time{}
		s.first.put(t)
	case t.next != nil:
		t.at, t.again = time.Now().Add(t.next.Pause), t.next.Visit
		if t.at.After(t.until) {
			t.at = t.until
		}
		if s.ctx.Err() != nil || s.later.full(t.owner) {
			s.over(t)
			return
		}
		s.later.put(t)
	}
}

// over is the last turn of a process that wanted another one.
func (s *scan) over(t *task) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	t.again(ctx)
}

// nextEvent returns when something is to be done even if no visit ends.
func (s *scan) nextEvent(now time.Time) time.Time {
	next := now.Add(time.Hour)
	for _, t := range s.running {
		if at := t.begun.Add(slow); !t.slow && at.After(now) && at.Before(next) {
			next = at
		}
	}
	if at, ok := s.later.due(); ok && s.places() > 0 && at.After(now) && at.Before(next) {
		next = at
	}
	return next
}
