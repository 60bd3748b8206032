package tracer

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func nothing() error { return nil }

// TestWhileRunning: the threads run while f runs, and stand still afterwards, ready for whatever
// one does with them.
func TestWhileRunning(t *testing.T) {
	for _, how := range []string{"spin", "pause", "wait", "handler", "coroutine"} {
		c := startChecker(t, 3, how)
		tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid), StopTimeout: 10 * time.Second})
		for range 20 {
			if err := tr.WhileRunning(t.Context(), func() error {
				before := [3]uint64{c.count(0), c.count(1), c.count(2)}
				for n, deadline := 0, time.Now().Add(10*time.Second); n < 3 &&
					time.Now().Before(deadline); {
					if c.count(n) > before[n] {
						n++
					}
				}
				for n := range before {
					if c.count(n) == before[n] {
						t.Errorf("%s: thread %d does not run", how, n)
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			for _, th := range tr.Threads() {
				if state, _ := stat(t, c.pid, th.TID); state != "t" {
					t.Errorf("%s: thread %d: state %s", how, th.TID, state)
				}
			}
			th := tr.Threads()[len(tr.Threads())-1]
			r, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETTID})
			if err != nil || r[0].Value != uint64(th.TID) {
				t.Fatal(r, err)
			}
		}
		detach(t, tr)
		c.goesOn()
	}
}

// TestWhileRunningError: the error is f's, and the process is stopped again. The time for which it
// ran does not count.
func TestWhileRunningError(t *testing.T) {
	c := startChecker(t, 1, "spin")
	mine, began := errors.New("mine"), time.Now()
	tr := attach(t, c.pid, Options{})
	if err := tr.WhileRunning(t.Context(), func() error {
		time.Sleep(100 * time.Millisecond)
		return mine
	}); !errors.Is(err, mine) {
		t.Error(err)
	}
	if state, tracer := stat(t, c.pid, c.pid); state != "t" || tracer == 0 {
		t.Errorf("state %s, tracer %d", state, tracer)
	}
	detach(t, tr)
	if took := time.Since(began); tr.StopTime() > took-100*time.Millisecond {
		t.Errorf("stopped for %v of %v", tr.StopTime(), took)
	}
	c.goesOn()
}

// TestWhileRunningUnquiet: threads begin and end meanwhile; afterwards all that there are stand
// still.
func TestWhileRunningUnquiet(t *testing.T) {
	c := start(t, program(t, "life"), "threads")
	for range 100 {
		tr := attach(t, c.pid, Options{StopTimeout: 10 * time.Second})
		if err := tr.WhileRunning(t.Context(), func() error {
			time.Sleep(200 * time.Microsecond)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		known := map[int]bool{}
		for _, th := range tr.Threads() {
			known[th.TID] = true
		}
		for _, tid := range must(tasks(c.pid)) {
			if state, _ := stat(t, c.pid, tid); !known[tid] && state != "Z" && state != "X" {
				t.Errorf("thread %d: state %s", tid, state)
			}
		}
		detach(t, tr)
	}
}

// TestWhileRunningExecs: a process executes itself meanwhile, or not; nothing is done to the new
// program.
func TestWhileRunningExecs(t *testing.T) {
	for _, how := range []string{"execs", "threadexecs"} {
		c := start(t, program(t, "life"), how)
		seen := 0
		for range 200 {
			tr, err := tryAttach(t.Context(), c.pid, Options{StopTimeout: 20 * time.Second})
			if err != nil {
				continue // as in TestExecs
			}
			err = tr.WhileRunning(t.Context(), func() error {
				time.Sleep(time.Millisecond)
				return nil
			})
			switch {
			case errors.Is(err, ErrExec), errors.Is(err, ErrGone), errors.Is(err, ErrNotStopping):
				seen++
				var b [8]byte
				if _, err := tr.Memory().ReadAt(b[:], 0x10000); err == nil {
					t.Error("the new program can be read")
				}
			case err != nil:
				t.Fatal(err)
			}
			detach(t, tr)
		}
		if seen == 0 {
			t.Errorf("%s: it never executed meanwhile", how)
		}
		deadline := time.Now().Add(10 * time.Second)
		for state, tracer := "", 1; tracer != 0 || state == "t" || state == "Z"; {
			// in the middle of exec its first thread has ended
			if state, tracer = stat(t, c.pid, c.pid); time.Now().After(deadline) {
				t.Fatalf("%s: state %s, tracer %d", how, state, tracer)
			}
		}
	}
}

// TestWhileRunningStorm: signals come meanwhile, and none is lost.
func TestWhileRunningStorm(t *testing.T) {
	c := start(t, program(t, "life"), "storm", "5000")
	for {
		_, err := Run(t.Context(), c.pid, Options{}, func(tr *Tracee) error {
			return tr.WhileRunning(t.Context(), nothing)
		})
		if errors.Is(err, ErrGone) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, code := c.Line(), c.Wait(); got != "5000 5000" || code != 0 {
		t.Errorf("%q, exit code %d", got, code)
	}
}

// TestWhileRunningStopped: a process that is stopped stays so, meanwhile and afterwards.
func TestWhileRunningStopped(t *testing.T) {
	c := start(t, program(t, "life"), "stopped")
	await(t, c.pid, "T")
	tr := attach(t, c.pid, Options{})
	if err := tr.WhileRunning(t.Context(), func() error {
		if state, _ := stat(t, c.pid, c.pid); state != "t" && state != "T" {
			t.Errorf("state %s", state)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	detach(t, tr)
	await(t, c.pid, "T")
}

// TestWhileRunningStuck: a process that cannot be stopped again goes on.
func TestWhileRunningStuck(t *testing.T) {
	c := start(t, program(t, "life"), "vforklater")
	tr := attach(t, c.pid, Options{StopTimeout: 50 * time.Millisecond})
	child := 0
	err := tr.WhileRunning(context.Background(), func() (err error) {
		c.In.Close()
		child, err = strconv.Atoi(c.Line())
		return err
	})
	if !errors.Is(err, ErrNotStopping) || len(tr.Threads()) != 0 {
		t.Error(err, tr.Threads())
	}
	detach(t, tr)
	if state, tracer := stat(t, c.pid, c.pid); tracer != 0 || state == "t" {
		t.Errorf("state %s, tracer %d", state, tracer)
	}
	if child <= 0 { // which would be others to kill(2)
		t.Fatal("no child")
	}
	_ = unix.Kill(child, unix.SIGKILL)
	if got := c.Line(); got != "back" {
		t.Error(got)
	}
}
