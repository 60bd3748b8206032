package tracer

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestWorkers: each of many that work at a time has a thread of its own while it does, and that is
// never the process's first one, with which Go does not end what it traces.
func TestWorkers(t *testing.T) {
	const n = 64
	var mu sync.Mutex
	var here, gone sync.WaitGroup
	tids := map[int]bool{}
	here.Add(n)
	for range n {
		gone.Go(func() {
			w := startWorker()
			w.do(func() {
				tid := unix.Gettid()
				mu.Lock()
				if tid == unix.Getpid() || tids[tid] || !w.here() {
					t.Errorf("works on thread %d of %d, one of %v", tid, unix.Getpid(), tids)
				}
				tids[tid] = true
				mu.Unlock()
				here.Done()
				here.Wait()
			})
			w.rest(false)
			if w.here() || w.tid.Load() != 0 {
				t.Error("keeps its thread while it rests")
			}
		})
	}
	gone.Wait()
}

// TestThreadLeft: a thread that was a tracer's is like every other one after that, as programs
// inherit what it has.
func TestThreadLeft(t *testing.T) {
	properties := func() string { // of the thread itself: of another one it takes CAP_SYS_NICE
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return ""
		}
		slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil {
			t.Error(err)
		}
		return fmt.Sprintf("policy %d, slice of %d ns, slack of %d ns", attr.Policy, attr.Runtime,
			slack)
	}
	w := startWorker()
	defer w.end(false)
	var working, got string
	w.do(func() {
		w.raisePriority()
		working = properties()
	})
	w.do(func() {
		if !w.leaveThread() {
			t.Error("it traces something")
		}
		got = properties()
	})
	if want := properties(); got != want || working == want {
		t.Errorf("%s, before that %s, want %s", got, working, want)
	}
}

// TestTracedChild: a process that is being stopped makes a child with CLONE_PTRACE, which its
// tracer then traces, too, without knowing of it. It is let go with its parent.
func TestTracedChild(t *testing.T) {
	for range 5 {
		c := start(t, program(t, "life"), "inherits")
		made := 0
		_, err := Run(t.Context(), c.pid, Options{step: func(name string) {
			if name == "attach:interrupt" && made == 0 {
				_, _ = io.WriteString(c.In, "x")
				made, _ = strconv.Atoi(c.Line())
				t.Cleanup(func() { endStray(made) })
			}
		}}, func(*Tracee) error { return nil })
		if err != nil || made <= 0 {
			t.Fatal(made, err)
		}
		targettest.Await(t, "the child to be let go", func() bool {
			state, tracer := stat(t, made, made)
			return tracer == 0 && state != "t"
		})
	}
}

// endStray ends a process that is no child of this one.
func endStray(pid int) {
	if pid > 0 {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
