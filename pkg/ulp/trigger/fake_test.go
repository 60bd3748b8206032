package trigger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// engine is a backend that changes nothing: what is done in a process is up to the test.
type engine struct {
	name    string
	only    map[int]bool // the processes that it is for; nil: all
	open    error
	enabled error
	applied []trigger.Applied
	verdict func(pid int, s trigger.Step) error
	do      func(ctx context.Context, pid, attempt int, steps []trigger.Step) (trigger.Done, error)

	mu       sync.Mutex
	attempts map[int]int
	opened   atomic.Int64 // targets that are not closed
}

func (e *engine) Name() string { return e.name }

func (e *engine) Anywhere() bool { return false }

func (e *engine) Open(_ context.Context, v *trigger.View) (trigger.Target, error) {
	switch {
	case e.only != nil && !e.only[v.Process.PID]:
		return nil, fmt.Errorf("wrapped: %w", trigger.ErrNoEngine)
	case e.open != nil:
		return nil, e.open
	}
	e.opened.Add(1)
	return &fakeTarget{e, v.Process}, nil
}

type fakeTarget struct {
	e *engine
	p *process.Process
}

func (t *fakeTarget) Enabled(context.Context) error                      { return t.e.enabled }
func (t *fakeTarget) Applied(context.Context) ([]trigger.Applied, error) { return t.e.applied, nil }
func (t *fakeTarget) Version() string                                    { return "" }
func (t *fakeTarget) Close()                                             { t.e.opened.Add(-1) }
func (t *fakeTarget) Comments(context.Context, *trigger.Applied) (string, error) {
	return "", errors.New("none")
}

func (t *fakeTarget) Plan(_ context.Context, steps []trigger.Step) (trigger.Plan, error) {
	return &fakePlan{t, steps}, nil
}

type fakePlan struct {
	t     *fakeTarget
	steps []trigger.Step
}

func (p *fakePlan) Verdicts() []error {
	errs := make([]error, len(p.steps))
	for i, s := range p.steps {
		if p.t.e.verdict != nil {
			errs[i] = p.t.e.verdict(p.t.p.PID, s)
		}
	}
	return errs
}

func (p *fakePlan) Do(ctx context.Context) (trigger.Done, error) {
	e := p.t.e
	e.mu.Lock()
	if e.attempts == nil {
		e.attempts = map[int]int{}
	}
	e.attempts[p.t.p.PID]++
	n := e.attempts[p.t.p.PID]
	e.mu.Unlock()
	if e.do == nil {
		return trigger.Done{Errs: p.Verdicts(), Stop: time.Microsecond}, nil
	}
	return e.do(ctx, p.t.p.PID, n, p.steps)
}

var errBusy = errors.New("inside malloc")

// TestStopTooLong notes that a stop was longer than it should be, however it came.
func TestStopTooLong(t *testing.T) {
	c := start(t, "a", "", "late")
	cs := read(t, container(t, "a", 10))
	for most, late := range map[time.Duration]int{0: 0, time.Microsecond: 0, time.Nanosecond: 1} {
		r := c.one(trigger.Options{Containers: cs, Backends: []trigger.Backend{&engine{name: "fake"}}, MaxStop: most})
		if r.Late != (late == 1) || r.Status != trigger.Changed {
			t.Errorf("MaxStop %v: %+v", most, r)
		}
		_, sum, err := runAll(t, trigger.Options{Selector: c.selector(), Containers: cs, Backends: []trigger.Backend{&engine{name: "fake"}}, MaxStop: most})
		if err != nil || sum.Late != late {
			t.Errorf("MaxStop %v: %+v, %v", most, sum, err)
		}
	}
}

// TestAgain tries again what may change, as often as is allowed, and nothing else.
func TestAgain(t *testing.T) {
	c := start(t, "a", "", "again")
	cs := read(t, container(t, "a", 10))
	for name, tc := range map[string]struct {
		fails   int // attempts that fail
		err     error
		allowed int
		tries   int // that are made
		status  trigger.Status
	}{
		"busy twice":             {2, &trigger.AgainError{Err: errBusy}, 0, 3, trigger.Changed},
		"busy, one attempt":      {2, &trigger.AgainError{Err: errBusy}, 1, 1, trigger.Failed},
		"busy, two attempts":     {2, &trigger.AgainError{Err: errBusy}, 2, 2, trigger.Failed},
		"busy, three attempts":   {2, &trigger.AgainError{Err: errBusy}, 3, 3, trigger.Changed},
		"not stopped, one":       {2, &trigger.AgainError{Err: errBusy, Unreached: true}, 1, 3, trigger.Changed},
		"not stopped at all":     {9, &trigger.AgainError{Err: errBusy, Unreached: true}, 1, 4, trigger.Failed},
		"impossible":             {9, errBusy, 5, 1, trigger.Failed},
		"gone":                   {9, process.ErrGone, 5, 1, trigger.Skipped},
		"applied by another one": {9, trigger.ErrApplied, 5, 1, trigger.Already},
	} {
		for _, whole := range []bool{true, false} { // the error is for the process, or for the step
			e := &engine{name: "fake"}
			e.do = func(_ context.Context, _, n int, steps []trigger.Step) (trigger.Done, error) {
				done := trigger.Done{Errs: make([]error, len(steps)), Stop: time.Microsecond}
				switch {
				case n > tc.fails:
				case whole:
					return trigger.Done{Stop: time.Microsecond}, tc.err
				default:
					done.Errs[0] = tc.err
				}
				return done, nil
			}
			r := c.one(trigger.Options{Containers: cs, Backends: []trigger.Backend{e}, Attempts: tc.allowed})
			if r.Status != tc.status || r.Attempts != tc.tries || r.Stop != time.Duration(tc.tries)*time.Microsecond {
				t.Errorf("%s: %v after %d attempts, %v: %+v", name, r.Status, r.Attempts, r.Stop, r)
			}
			if e.opened.Load() != 0 {
				t.Errorf("%s: targets are not closed", name)
			}
		}
	}
}

// TestDoneOnce does not do again what an earlier attempt has done.
func TestDoneOnce(t *testing.T) {
	c := start(t, "a", "", "doneonce")
	var seen [][]trigger.Step
	e := &engine{name: "fake", applied: []trigger.Applied{{Library: "libtarget.so"}}}
	e.do = func(_ context.Context, _, n int, steps []trigger.Step) (trigger.Done, error) {
		seen = append(seen, steps)
		done := trigger.Done{Errs: make([]error, len(steps))}
		if n == 1 {
			done.Errs[2] = &trigger.AgainError{Err: errBusy}
		}
		return done, nil
	}
	r := c.one(trigger.Options{
		Containers: read(t, container(t, "a", 10), container(t, "a", 20)), Backends: []trigger.Backend{e}, RevertAll: "target",
	})
	if len(seen) != 2 || len(seen[0]) != 3 || len(seen[1]) != 1 || seen[1][0].Container.Target().Name != "libtarget.so" {
		t.Errorf("%v", seen)
	}
	if r.Status != trigger.Changed || len(r.Results) != 3 || r.Results[0].Kind != trigger.RevertAll {
		t.Errorf("%+v", r)
	}
}

// TestDeadlines lets the time of one process, and that of the run, pass.
func TestDeadlines(t *testing.T) {
	stuck, quick := start(t, "a", "", "stuck"), start(t, "a", "", "quick")
	cs := read(t, container(t, "a", 10))
	quickDone := make(chan struct{})
	e := &engine{name: "fake"}
	e.do = func(ctx context.Context, pid, _ int, steps []trigger.Step) (trigger.Done, error) {
		if pid == stuck.pid {
			<-quickDone // a process that does not stop delays no other, even if there is one place only
			<-ctx.Done()
			return trigger.Done{}, &trigger.AgainError{Err: ctx.Err(), Unreached: true}
		}
		return trigger.Done{Errs: make([]error, len(steps))}, nil
	}
	o := trigger.Options{Containers: cs, Backends: []trigger.Backend{e}, Workers: 1, Timeout: time.Second}
	name := trigger.NewWildcard("[sq]*ck") // stuck and quick
	reports := map[int]*trigger.Report{}
	o.Selector.Name = &name
	e.only = map[int]bool{stuck.pid: true, quick.pid: true}
	sum, err := trigger.Run(t.Context(), o, func(r *trigger.Report) {
		reports[r.PID] = r
		if r.PID == quick.pid {
			close(quickDone)
		}
	})
	must(t, err)
	if sum.Changed != 1 || sum.Failed != 1 || !errors.Is(reports[stuck.pid].Results[0].Err, trigger.ErrDeadline) {
		t.Errorf("%+v, %+v", sum, reports[stuck.pid])
	}

	e.do = nil
	o.Deadline = time.Nanosecond
	sum, err = trigger.Run(t.Context(), o, nil)
	if !errors.Is(err, trigger.ErrDeadline) || sum.Changed != 0 {
		t.Errorf("after the deadline: %v, %+v", err, sum)
	}
}

// TestInterrupt ends a run while a process is in hand: that one is finished, the others are not begun.
func TestInterrupt(t *testing.T) {
	first, second := start(t, "a", "", "interrupt1"), start(t, "a", "", "interrupt2")
	ctx, cancel := context.WithCancel(t.Context())
	e := &engine{name: "fake", only: map[int]bool{first.pid: true, second.pid: true}}
	e.do = func(ctx context.Context, _, _ int, steps []trigger.Step) (trigger.Done, error) {
		cancel()
		if err := ctx.Err(); err != nil {
			t.Errorf("the process in hand was broken off: %v", err)
		}
		return trigger.Done{Errs: make([]error, len(steps))}, nil
	}
	name := trigger.NewWildcard("interrupt?")
	o := trigger.Options{Containers: read(t, container(t, "a", 10)), Backends: []trigger.Backend{e}, Workers: 1}
	o.Selector.Name = &name
	sum, err := trigger.Run(ctx, o, nil)
	if !errors.Is(err, context.Canceled) && sum.Failed != 1 || sum.Changed != 1 {
		t.Errorf("%v, %+v", err, sum)
	}
	if n := len(e.attempts); n != 1 {
		t.Errorf("%d processes were begun", n)
	}
}

// TestEngines asks the engines in order, and says so if one cannot be used.
func TestEngines(t *testing.T) {
	c := start(t, "a", "", "engines")
	cs := read(t, container(t, "a", 10))
	none, second := &engine{name: "none", only: map[int]bool{}}, &engine{name: "second"}
	r := c.one(trigger.Options{Containers: cs, Backends: []trigger.Backend{none, second}})
	if r.Status != trigger.Changed || r.Engine != "second" {
		t.Errorf("%+v", r)
	}
	none.only, none.open = nil, errBusy
	r = c.one(trigger.Options{Containers: cs, Backends: []trigger.Backend{none, second}})
	if r.Status != trigger.Failed || !errors.Is(r.Err, errBusy) {
		t.Errorf("%+v", r)
	}
	second.enabled = fmt.Errorf("%w", trigger.ErrBlocked)
	r = c.one(trigger.Options{Containers: cs, Backends: []trigger.Backend{second}})
	c.is(trigger.Skipped, trigger.ErrBlocked, r)
}

// TestSamePlan wants a dry run to say what a real run does.
func TestSamePlan(t *testing.T) {
	c := start(t, "a", "", "sameplan")
	cs := read(t, container(t, "a", 10), container(t, "a", 20), container(t, "bb", 10))
	impossible := errors.New("impossible")
	e := &engine{name: "fake", verdict: func(_ int, s trigger.Step) error {
		if s.Container != nil && s.Container == cs.List[1] {
			return impossible
		}
		return nil
	}}
	for _, all := range []string{"", "target", "libtarget.so"} {
		o := trigger.Options{Containers: cs, Backends: []trigger.Backend{e}, RevertAll: all, Every: true, DryRun: true}
		dry := c.one(o)
		if len(e.attempts) > 0 {
			t.Fatal("a dry run stopped the process")
		}
		o.DryRun = false
		wet := c.one(o)
		e.attempts = nil
		if fmt.Sprint(dry.Results, dry.Status, dry.Err) != fmt.Sprint(wet.Results, wet.Status, wet.Err) {
			t.Errorf("dry run: %v\nreal run: %v", dry.Results, wet.Results)
		}
	}
}
