package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// fakeEngine is a engine that changes nothing: what is done in a process is up to the test.
type fakeEngine struct {
	name    string
	only    map[int]bool // the processes that it is for; nil: all
	open    error
	enabled error
	applied []engine.Applied
	verdict func(pid int, s engine.Step) error
	do      func(ctx context.Context, pid, attempt int, steps []engine.Step) (engine.Done, error)

	mu       sync.Mutex
	attempts map[int]int
	opened   atomic.Int64 // targets that are not closed
}

func (e *fakeEngine) Name() string { return e.name }

func (e *fakeEngine) Anywhere() bool { return false }

func (e *fakeEngine) Unsure(context.Context, *engine.View) error { return nil }

func (e *fakeEngine) Remains(context.Context, *engine.View) (*engine.Remains, error) {
	return nil, nil
}

func (e *fakeEngine) Open(_ context.Context, v *engine.View) (engine.Target, error) {
	switch {
	case e.only != nil && !e.only[v.Process.PID]:
		return nil, fmt.Errorf("wrapped: %w", engine.ErrNoEngine)
	case e.open != nil:
		return nil, e.open
	}
	e.opened.Add(1)
	return &fakeTarget{e, v.Process}, nil
}

type fakeTarget struct {
	e *fakeEngine
	p *process.Process
}

func (t *fakeTarget) Enabled(context.Context) error                     { return t.e.enabled }
func (t *fakeTarget) Alone() error                                      { return nil }
func (t *fakeTarget) Applied(context.Context) ([]engine.Applied, error) { return t.e.applied, nil }
func (t *fakeTarget) Version() string                                   { return "" }
func (t *fakeTarget) Close()                                            { t.e.opened.Add(-1) }
func (t *fakeTarget) Comments(context.Context, *engine.Applied) (string, error) {
	return "", errors.New("none")
}

func (t *fakeTarget) Replaceable(context.Context, *rtld.Library) (bool, error) {
	return false, nil
}

func (t *fakeTarget) CleanUp(context.Context) (bool, time.Duration, error) {
	return true, 0, nil
}

func (t *fakeTarget) Plan(_ context.Context, steps []engine.Step) (engine.Plan, error) {
	return &fakePlan{t, steps}, nil
}

type fakePlan struct {
	t     *fakeTarget
	steps []engine.Step
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

func (p *fakePlan) Do(ctx context.Context) (engine.Done, error) {
	e := p.t.e
	e.mu.Lock()
	if e.attempts == nil {
		e.attempts = map[int]int{}
	}
	e.attempts[p.t.p.PID]++
	n := e.attempts[p.t.p.PID]
	e.mu.Unlock()
	if e.do == nil {
		return engine.Done{Errs: p.Verdicts(), Stop: time.Microsecond}, nil
	}
	return e.do(ctx, p.t.p.PID, n, p.steps)
}

var errBusy = errors.New("inside malloc")

// TestStopTooLong notes that a stop was longer than it should be, however it came.
func TestStopTooLong(t *testing.T) {
	c := start(t, "a", "", "late")
	cs := read(t, container(t, "a", 10))
	for most, late := range map[time.Duration]int{0: 0, time.Microsecond: 0, time.Nanosecond: 1} {
		r := c.one(engine.Options{Containers: cs,
			Engines: []engine.Engine{&fakeEngine{name: "fake"}}, MaxStop: most})
		if r.Late != (late == 1) || r.Status != engine.Changed {
			t.Errorf("MaxStop %v: %+v", most, r)
		}
		_, sum, err := runAll(t, engine.Options{Selector: c.selector(), Containers: cs,
			Engines: []engine.Engine{&fakeEngine{name: "fake"}}, MaxStop: most})
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
		status  engine.Status
	}{
		"busy twice":           {2, &engine.AgainError{Err: errBusy}, 0, 3, engine.Changed},
		"busy, one attempt":    {2, &engine.AgainError{Err: errBusy}, 1, 1, engine.Failed},
		"busy, two attempts":   {2, &engine.AgainError{Err: errBusy}, 2, 2, engine.Failed},
		"busy, three attempts": {2, &engine.AgainError{Err: errBusy}, 3, 3, engine.Changed},
		"not stopped, one": {2, &engine.AgainError{Err: errBusy, Unreached: true}, 1, 3,
			engine.Changed},
		"not stopped at all": {9, &engine.AgainError{Err: errBusy, Unreached: true}, 1, 4,
			engine.Failed},
		"impossible":             {9, errBusy, 5, 1, engine.Failed},
		"gone":                   {9, process.ErrGone, 5, 1, engine.Skipped},
		"applied by another one": {9, engine.ErrApplied, 5, 1, engine.Already},
	} {
		for _, whole := range []bool{true, false} { // the error is for the process, or for the step
			e := &fakeEngine{name: "fake"}
			e.do = func(_ context.Context, _, n int, steps []engine.Step) (engine.Done, error) {
				done := engine.Done{Errs: make([]error, len(steps)), Stop: time.Microsecond}
				switch {
				case n > tc.fails:
				case whole:
					return engine.Done{Stop: time.Microsecond}, tc.err
				default:
					done.Errs[0] = tc.err
				}
				return done, nil
			}
			r := c.one(engine.Options{Containers: cs, Engines: []engine.Engine{e},
				Attempts: tc.allowed})
			if r.Status != tc.status || r.Attempts != tc.tries ||
				r.Stop != time.Duration(tc.tries)*time.Microsecond {
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
	var seen [][]engine.Step
	e := &fakeEngine{name: "fake", applied: []engine.Applied{{Library: "libtarget.so"}}}
	e.do = func(_ context.Context, _, n int, steps []engine.Step) (engine.Done, error) {
		seen = append(seen, steps)
		done := engine.Done{Errs: make([]error, len(steps))}
		if n == 1 {
			done.Errs[2] = &engine.AgainError{Err: errBusy}
		}
		return done, nil
	}
	r := c.one(engine.Options{
		Containers: read(t, container(t, "a", 10), container(t, "a", 20)),
		Engines:    []engine.Engine{e}, RevertAll: "target",
	})
	if len(seen) != 2 || len(seen[0]) != 3 || len(seen[1]) != 1 ||
		seen[1][0].Container.Target().Name != "libtarget.so" {
		t.Errorf("%v", seen)
	}
	if r.Status != engine.Changed || len(r.Results) != 3 || r.Results[0].Kind != engine.RevertAll {
		t.Errorf("%+v", r)
	}
}

// TestDeadlines lets the time of one process, and that of the run, pass.
func TestDeadlines(t *testing.T) {
	stuck, quick := start(t, "a", "", "stuck"), start(t, "a", "", "quick")
	cs := read(t, container(t, "a", 10))
	quickDone := make(chan struct{})
	e := &fakeEngine{name: "fake"}
	e.do = func(ctx context.Context, pid, _ int, steps []engine.Step) (engine.Done, error) {
		if pid == stuck.pid {
			// a process that does not stop delays no other, even if there is one place only
			<-quickDone
			<-ctx.Done()
			return engine.Done{}, &engine.AgainError{Err: ctx.Err(), Unreached: true}
		}
		return engine.Done{Errs: make([]error, len(steps))}, nil
	}
	o := engine.Options{Containers: cs, Engines: []engine.Engine{e}, Workers: 1,
		Timeout: time.Second}
	name := engine.NewWildcard("[sq]*ck") // stuck and quick
	reports := map[int]*engine.Report{}
	o.Selector.Name = &name
	e.only = map[int]bool{stuck.pid: true, quick.pid: true}
	sum, err := engine.Run(t.Context(), o, func(r *engine.Report) {
		reports[r.PID] = r
		if r.PID == quick.pid {
			close(quickDone)
		}
	})
	must(t, err)
	if sum.Changed != 1 || sum.Failed != 1 || !errors.Is(reports[stuck.pid].Results[0].Err,
		engine.ErrDeadline) {
		t.Errorf("%+v, %+v", sum, reports[stuck.pid])
	}

	e.do = nil
	o.Deadline = time.Nanosecond
	sum, err = engine.Run(t.Context(), o, nil)
	if !errors.Is(err, engine.ErrDeadline) || sum.Changed != 0 {
		t.Errorf("after the deadline: %v, %+v", err, sum)
	}
}

// TestInterrupt ends a run while a process is in hand: that one is finished, the others are not
// begun.
func TestInterrupt(t *testing.T) {
	first, second := start(t, "a", "", "interrupt1"), start(t, "a", "", "interrupt2")
	ctx, cancel := context.WithCancel(t.Context())
	e := &fakeEngine{name: "fake", only: map[int]bool{first.pid: true, second.pid: true}}
	e.do = func(ctx context.Context, _, _ int, steps []engine.Step) (engine.Done, error) {
		cancel()
		if err := ctx.Err(); err != nil {
			t.Errorf("the process in hand was broken off: %v", err)
		}
		return engine.Done{Errs: make([]error, len(steps))}, nil
	}
	name := engine.NewWildcard("interrupt?")
	o := engine.Options{Containers: read(t, container(t, "a", 10)), Engines: []engine.Engine{e},
		Workers: 1}
	o.Selector.Name = &name
	sum, err := engine.Run(ctx, o, nil)
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
	none, second := &fakeEngine{name: "none", only: map[int]bool{}}, &fakeEngine{name: "second"}
	r := c.one(engine.Options{Containers: cs, Engines: []engine.Engine{none, second}})
	if r.Status != engine.Changed || r.Engine != "second" {
		t.Errorf("%+v", r)
	}
	none.only, none.open = nil, errBusy
	r = c.one(engine.Options{Containers: cs, Engines: []engine.Engine{none, second}})
	if r.Status != engine.Failed || !errors.Is(r.Err, errBusy) {
		t.Errorf("%+v", r)
	}
	second.enabled = fmt.Errorf("%w", engine.ErrBlocked)
	r = c.one(engine.Options{Containers: cs, Engines: []engine.Engine{second}})
	c.is(engine.Skipped, engine.ErrBlocked, r)
}

// TestSamePlan wants a dry run to say what a real run does.
func TestSamePlan(t *testing.T) {
	c := start(t, "a", "", "sameplan")
	cs := read(t, container(t, "a", 10), container(t, "a", 20), container(t, "bb", 10))
	impossible := errors.New("impossible")
	e := &fakeEngine{name: "fake", verdict: func(_ int, s engine.Step) error {
		if s.Container != nil && s.Container == cs.List[1] {
			return impossible
		}
		return nil
	}}
	for _, all := range []string{"", "target", "libtarget.so"} {
		o := engine.Options{Containers: cs, Engines: []engine.Engine{e}, RevertAll: all,
			Every: true, DryRun: true}
		dry := c.one(o)
		if len(e.attempts) > 0 {
			t.Fatal("a dry run stopped the process")
		}
		o.DryRun = false
		wet := c.one(o)
		e.attempts = nil
		if fmt.Sprint(dry.Results, dry.Status, dry.Err) != fmt.Sprint(wet.Results, wet.Status,
			wet.Err) {
			t.Errorf("dry run: %v\nreal run: %v", dry.Results, wet.Results)
		}
	}
}
