package tracer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// stop is one attach with a system call in each thread.
func visit(t *testing.T, pid int, g Gadgets) error {
	_, err := Run(context.Background(), pid, Options{Gadgets: g}, func(tr *Tracee) error {
		for _, th := range tr.Threads() {
			r, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETTID})
			if err != nil {
				return err
			}
			if len(r) != 1 || r[0].Value != uint64(th.TID) {
				return fmt.Errorf("thread %d: results %+v", th.TID, r)
			}
		}
		return nil
	})
	return err
}

// TestStorm visits a process to which thousands of numbered signals come, some while blocked.
func TestStorm(t *testing.T) {
	c := start(t, program(t, "life"), "storm", "5000")
	g := gadgets(t, c.pid)
	visits := 0
	for ; ; visits++ {
		err := visit(t, c.pid, g)
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
	t.Logf("%d visits", visits)
}

// TestUnquiet visits processes that make and end threads or children all the time.
func TestUnquiet(t *testing.T) {
	for _, how := range []string{"threads", "forks", "leaderless"} {
		c := start(t, program(t, "life"), how)
		g := gadgets(t, c.pid)
		for range 100 {
			if err := visit(t, c.pid, g); err != nil {
				t.Fatalf("%s: %v", how, err)
			}
		}
		time.Sleep(5 * time.Millisecond)
		var status unix.WaitStatus
		if pid, err := unix.Wait4(c.pid, &status, unix.WNOHANG, nil); pid != 0 || err != nil {
			t.Errorf("%s: exit code %d", how, status.ExitStatus())
		}
		if how != "leaderless" {
			if state, tracer := stat(t, c.pid, c.pid); tracer != 0 || state == "t" || state == "T" {
				t.Errorf("%s: state %s, tracer %d", how, state, tracer)
			}
		}
	}
}

// TestExecs visits a process that executes itself again and again: each visit works or says that it
// did so.
func TestExecs(t *testing.T) {
	c := start(t, program(t, "life"), "execs")
	seen := map[error]int{}
	for range 300 {
		tr, err := tryAttach(t.Context(), c.pid, Options{})
		for _, want := range []error{nil, ErrExec} {
			if errors.Is(err, want) {
				seen[want]++
			}
		}
		if err == nil {
			detach(t, tr)
		} else if !errors.Is(err, ErrExec) {
			t.Fatal(err)
		}
	}
	t.Logf("%v", seen)
	time.Sleep(5 * time.Millisecond)
	if state, tracer := stat(t, c.pid, c.pid); tracer != 0 || state == "t" || state == "Z" {
		t.Errorf("state %s, tracer %d", state, tracer)
	}
}

func TestExits(t *testing.T) {
	for range 20 {
		c := start(t, program(t, "life"), "exits")
		g, err := findGadgetsOf(c.pid)
		for err == nil { // until it is gone, which may be before it was seen at all
			err = visit(t, c.pid, g)
		}
		state, _ := stat(t, c.pid, c.pid)
		for end := time.Now().Add(10 * time.Second); state != "Z" && time.Now().Before(end); state,
			_ = stat(t, c.pid, c.pid) {
			runtime.Gosched() // it has no memory any more, but is not at the end of its end
		}
		if state != "Z" {
			t.Fatal(state, err)
		}
		if code := c.Wait(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
	}
}

func TestVfork(t *testing.T) {
	t.Parallel()                               // it mostly waits
	c := start(t, program(t, "life"), "vfork") // until it is told to go on
	if _, err := tryAttach(t.Context(), c.pid,
		Options{StopTimeout: 100 * time.Millisecond}); !errors.Is(err, ErrNotStopping) {
		t.Error(err)
	}
	if state, tracer := stat(t, c.pid, c.pid); tracer != 0 || state == "t" {
		t.Errorf("state %s, tracer %d", state, tracer)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := tryAttach(ctx, c.pid, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	c.In.Close()
	if got, code := c.Line(), c.Wait(); got != "back" || code != 0 {
		t.Errorf("%q, exit code %d", got, code)
	}
}

func TestGroupStop(t *testing.T) {
	c := start(t, program(t, "life"), "stopped")
	g := gadgets(t, c.pid)
	await(t, c.pid, "T")
	for range 20 {
		tr := attach(t, c.pid, Options{Gadgets: g})
		th := tr.Threads()[0]
		if !th.GroupStop {
			t.Fatal("no group stop seen")
		}
		if r, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETTID}); err != nil ||
			r[0].Value != uint64(c.pid) {
			t.Fatal(r, err)
		}
		detach(t, tr)
		await(t, c.pid, "T")
		time.Sleep(time.Millisecond)
		if state, tracer := stat(t, c.pid, c.pid); state != "T" || tracer != 0 {
			t.Fatalf("state %s, tracer %d", state, tracer)
		}
	}
	// A SIGCONT and a SIGSTOP while it is attached count too.
	tr := attach(t, c.pid, Options{Gadgets: g})
	_ = unix.Kill(c.pid, unix.SIGCONT)
	detach(t, tr)
	if got := c.Line(); got != "continued" {
		t.Error(got)
	}
	tr = attach(t, c.pid, Options{Gadgets: g})
	_ = unix.Kill(c.pid, unix.SIGSTOP)
	if _, err := tr.Syscalls(t.Context(), tr.Threads()[0], Call{Nr: unix.SYS_GETTID}); err != nil {
		t.Error(err)
	}
	detach(t, tr)
	await(t, c.pid, "T")
}

// await waits for a state.
func await(t *testing.T, pid int, want string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		if state, _ := stat(t, pid, pid); state == want {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("state %s, want %s", state, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	for how, want := range map[string]error{"traced": ErrTraced, "zombie": ErrGone} {
		c := start(t, program(t, "life"), how)
		var pid int
		if _, err := fmt.Sscan(c.Line(), &pid); err != nil {
			t.Fatal(err)
		}
		_, err := tryAttach(t.Context(), pid, Options{})
		var e *Error
		if !errors.Is(err, want) || !errors.As(err, &e) || want == ErrTraced && e.Tracer != c.pid {
			t.Errorf("%s: %v", how, err)
		}
	}
	if _, err := tryAttach(t.Context(), 1<<22+1, Options{}); !errors.Is(err, ErrGone) {
		t.Errorf("no such process: %v", err)
	}
}

// TestRefusesKernelThread needs a kernel thread, which only the first PID namespace has.
func TestRefusesKernelThread(t *testing.T) {
	if comm, err := os.ReadFile("/proc/2/comm"); err != nil || string(comm) != "kthreadd\n" {
		t.Skipf("no kernel thread is visible: process 2 is %q, %v", comm, err)
	}
	if _, err := tryAttach(t.Context(), 2, Options{}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

func TestSeccomp(t *testing.T) {
	targettest.NeedFilters(t)
	for how, want := range map[string]Result{
		"errno": {Errno: unix.EXDEV},
		"trap":  {Errno: unix.ENOSYS, Denied: true},
	} {
		cmd := start(t, program(t, "life"), how)
		tr := attach(t, cmd.pid, Options{Gadgets: gadgets(t, cmd.pid)})
		th := tr.Threads()[0]
		if mode, err := tr.Seccomp(th); mode != SeccompFilter || err != nil {
			t.Errorf("%s: mode %d, %v", how, mode, err)
		}
		for range 2 {
			r, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETPPID})
			if err != nil || len(r) != 1 || r[0] != want {
				t.Errorf("%s: %+v, %v", how, r, err)
			}
			if r, err := tr.Syscalls(t.Context(), th, Call{Nr: unix.SYS_GETPID}); err != nil ||
				len(r) != 1 || r[0].Value != uint64(cmd.pid) {
				t.Errorf("%s: %+v, %v", how, r, err)
			}
		}
		detach(t, tr)
		cmd.In.Close()
		if got, code := cmd.Line(), cmd.Wait(); got != "0 1" || code != 0 {
			t.Errorf("%s: handler ran, is installed: %s, exit code %d", how, got, code)
		}
	}
}

// TestSeccompRefused leaves threads alone whose filters would kill them: for the call, or for
// coming back.
func TestSeccompRefused(t *testing.T) {
	for how, want := range map[string]int{"strict": 9, "nosigreturn": 0, "kill": 0} {
		c := start(t, program(t, "life"), how)
		for m := map[string]string{"Seccomp": ""}; m["Seccomp"] != "1" && m["Seccomp"] != "2"; {
			if err := taskStatus(c.pid, c.pid, m); err != nil {
				t.Fatal(err)
			}
		}
		tr := attach(t, c.pid, Options{Gadgets: gadgets(t, c.pid)})
		if _, err := tr.Syscalls(t.Context(), tr.Threads()[0],
			Call{Nr: unix.SYS_GETPPID}); !errors.Is(err, ErrSeccomp) {
			t.Errorf("%s: %v", how, err)
		}
		detach(t, tr)
		c.In.Close()
		if code := c.Wait(); code != want {
			t.Errorf("%s: exit code %d", how, code)
		}
	}
}

// TestSuspendSeccomp makes a call that the target's filter answers with death.
func TestSuspendSeccomp(t *testing.T) {
	c := start(t, program(t, "life"), "kill")
	tr, err := tryAttach(t.Context(), c.pid, Options{Gadgets: gadgets(t, c.pid),
		SuspendSeccomp: true})
	if errors.Is(err, ErrPermission) || errors.Is(err, unix.EINVAL) {
		t.Skip("needs CAP_SYS_ADMIN and a kernel that can:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := tr.Syscalls(t.Context(), tr.Threads()[0], Call{Nr: unix.SYS_GETPPID})
	if err != nil || r[0].Errno != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	detach(t, tr)
	c.In.Close()
	if got, code := c.Line(), c.Wait(); got != "0 1" || code != 0 {
		t.Errorf("%s, exit code %d", got, code)
	}
}

// TestTimers stops a thread again and again to which signals come all the time. A stop for one of
// them takes an interrupt back that comes just then.
func TestTimers(t *testing.T) {
	c := start(t, program(t, "timers"))
	g := gadgets(t, c.pid)
	began := time.Now()
	for i := 0; i < 2000 && (i < 10 || time.Since(began) < 20*time.Second); i++ {
		if err := visit(t, c.pid, g); err != nil {
			t.Fatal(err)
		}
	}
}
