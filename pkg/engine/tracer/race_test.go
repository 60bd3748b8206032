package tracer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestThreadExecs visits a process with many threads, one of which replaces it again and again:
// then the others end, and the kernel makes it wait until the tracer has noticed that, with a lock
// that the tracer needs, too.
func TestThreadExecs(t *testing.T) {
	c := start(t, program(t, "life"), "threadexecs")
	seen := map[error]int{}
	for range 200 {
		tr, err := tryAttach(t.Context(), c.pid, Options{StopTimeout: 20 * time.Second})
		for _, want := range []error{nil, ErrExec, ErrNotStopping, ErrGone} {
			if errors.Is(err, want) {
				seen[want]++
			}
		}
		switch {
		case err == nil:
			detach(t, tr)
		case errors.Is(err, ErrGone): // all that were known ended, the new program was not seen yet
		case !errors.Is(err, ErrExec) && !errors.Is(err, ErrNotStopping):
			t.Fatal(err)
		}
	}
	t.Log(seen)
	if seen[nil] == 0 {
		t.Error("never attached")
	}
	await(t, c.pid, "S")
}

// TestThreadExecsListed lists the threads of such a process. It always has some, whatever the
// kernel shows while one of them takes the number of the first.
func TestThreadExecsListed(t *testing.T) {
	c := start(t, program(t, "life"), "threadexecs")
	dir, err := procfs.Open(procfs.Root, c.pid)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		n := 0
		if _, err := dir.EachTask(func(int) error { n++; return nil }); err != nil || n == 0 {
			t.Fatalf("%d threads, %v", n, err)
		}
	}
}

// TestLeaderEnds visits processes whose first thread ends meanwhile. The kernel does not tell its
// tracer, but it is no reason not to stop the others.
func TestLeaderEnds(t *testing.T) {
	for range 10 {
		c := start(t, program(t, "life"), "leaderends")
		for state := ""; state != "Z"; {
			tr, err := tryAttach(t.Context(), c.pid, Options{StopTimeout: 20 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			detach(t, tr)
			state, _ = stat(t, c.pid, c.pid)
		}
		tr := attach(t, c.pid, Options{})
		if len(tr.Threads()) != 1 || tr.Threads()[0].TID == c.pid {
			t.Errorf("threads %v", tr.Threads())
		}
		detach(t, tr)
		_ = c.Cmd.Process.Kill()
	}
}

// TestKilledTarget kills a process that is attached.
func TestKilledTarget(t *testing.T) {
	for _, threads := range []int{1, 64} {
		c := startChecker(t, threads, "pause")
		tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
		_ = c.Cmd.Process.Kill()
		th := tr.Threads()[len(tr.Threads())-1]
		for deadline := time.Now().Add(10 * time.Second); !must(tr.ended(th.TID)) &&
			time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if _, err := tr.Syscalls(t.Context(), th,
			Call{Nr: unix.SYS_GETTID}); !errors.Is(err, ErrGone) {
			t.Errorf("%d threads: %v", threads, err)
		}
		detach(t, tr)
		if code := c.Wait(); code != -1 {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestStranger seizes a thread of another process, as it happens when a number is given away just
// then.
func TestStranger(t *testing.T) {
	c, other := startChecker(t, 1), startChecker(t, 1)
	tr := newTracee(c.pid, Options{})
	var err error
	tr.w.do(func() {
		if tr.dir, err = procfs.Open(procfs.Root, c.pid); err != nil {
			return
		}
		tr.reaper = startReaper(c.pid)
		_, err = tr.seizeNew([]int{c.pid, other.pid})
		tr.reaper.stop()
		_ = tr.release()
	})
	tr.w.end(true)
	if !errors.Is(err, ErrNotStopping) {
		t.Error(err)
	}
	c.goesOn()
	other.goesOn()
}

// TestShortStop: who sets a limit that nothing can be stopped within is told the limit, and nothing
// of threads that appear, where there are none.
func TestShortStop(t *testing.T) {
	c := startChecker(t, 3)
	for _, o := range []Options{{MaxStop: time.Nanosecond}, {StopTimeout: time.Nanosecond}} {
		_, err := tryAttach(t.Context(), c.pid, o)
		want := fmt.Sprintf("process %d: stopping its threads: a thread does not stop within 1 ns",
			c.pid)
		if !errors.Is(err, ErrNotStopping) || err.Error() != want {
			t.Errorf("%+v: %v", o, err)
		}
	}
	c.goesOn()
}

// TestLeftBehind attaches to a process that cannot be seized, which may take for ever: it ends when
// its time is over, and cleans up whenever it can.
func TestLeftBehind(t *testing.T) {
	t.Parallel() // it mostly waits
	c := startChecker(t, 2)
	hang := make(chan struct{})
	o := Options{StopTimeout: time.Millisecond, step: func(name string) {
		if name == "attach:interrupt" {
			<-hang
		}
	}}
	if _, err := tryAttach(t.Context(), c.pid, o); !errors.Is(err, ErrNotStopping) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.StopTimeout = time.Hour
	if _, err := tryAttach(ctx, startChecker(t, 1).pid, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(hang)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, tracer := stat(t, c.pid, c.pid); tracer == 0 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("still traced")
		}
	}
	c.goesOn()
}

// TestCallThatExecs calls a function that replaces the program.
func TestCallThatExecs(t *testing.T) {
	c := startChecker(t, 2)
	tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
	if _, err := tr.Call(t.Context(), tr.Threads()[0], c.replace); !errors.Is(err, ErrExec) {
		t.Error(err)
	}
	detach(t, tr)
	await(t, c.pid, "S") // it sleeps
	var status unix.WaitStatus
	if pid, err := unix.Wait4(c.pid, &status, unix.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("exit code %d, signal %v", status.ExitStatus(), status.Signal())
	}
}

// TestBlockingCall makes a system call that blocks until its time is over, while a SIGSTOP comes.
// The next one is right.
func TestBlockingCall(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		c := startChecker(t, 1)
		tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
		th := tr.Threads()[0]
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if stopped {
			time.AfterFunc(10*time.Millisecond, func() { _ = unix.Kill(c.pid, unix.SIGSTOP) })
		}
		if _, err := tr.Syscalls(ctx, th, Call{Nr: unix.SYS_PPOLL}); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Error(err)
		}
		if r, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETPID}); err != nil ||
			r[0].Value != uint64(c.pid) {
			t.Error(r, err)
		}
		detach(t, tr)
		if stopped {
			await(t, c.pid, "T")
			_ = unix.Kill(c.pid, unix.SIGCONT)
		}
		c.goesOn()
	}
}

// TestBusyThread gives a thread that has not come back yet nothing else to do.
func TestBusyThread(t *testing.T) {
	c := startChecker(t, 2)
	tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := tr.Call(ctx, tr.Threads()[0], c.stall, 100); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := tr.Syscalls(t.Context(), tr.Threads()[0],
		Call{Nr: unix.SYS_GETPID}); !errors.Is(err, ErrNotStopping) {
		t.Error(err)
	}
	if r, err := tr.Syscalls(t.Context(), tr.Threads()[1], Call{Nr: unix.SYS_GETPID}); err != nil ||
		r[0].Value != uint64(c.pid) {
		t.Error(r, err)
	}
	detach(t, tr)
	c.goesOn()
}
