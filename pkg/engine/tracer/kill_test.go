package tracer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// Steps with a meaning.
const (
	oneRound = -1
	atHandOn = -2
	atResume = -3
)

// engine is this test binary as a process that works on a target until it is killed: "PID STEP MODE
// FUNCTION". At its STEPth step it kills itself; with oneRound it prints its steps' names after one
// round, with atHandOn it dies when it first holds a signal, with atResume when it first lets a
// thread run.
func engine(job string) int {
	if job == "attach" {
		pid, _ := strconv.Atoi(os.Getenv("TRACER_TEST_PID"))
		if _, err := tryAttach(context.Background(), pid,
			Options{}); errors.Is(err, ErrPermission) {
			fmt.Println("not permitted")
		}
		return 0
	}
	var pid, last int
	var mode string
	var fn uint64
	if _, err := fmt.Sscan(job, &pid, &last, &mode, &fn); err != nil {
		return 1
	}
	g, err := findGadgetsOf(pid)
	if err != nil {
		return 1 // it has ended
	}
	var names []string
	o := Options{Gadgets: g, StopTimeout: 5 * time.Second}
	o.step = func(name string) {
		if len(names) == last || last == atHandOn && name == "attach:handon" || last == atResume &&
			name == "resume" {
			targettest.KillSelf()
		}
		names = append(names, name)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	fmt.Println("ready")
	for {
		err := round(ctx, pid, o, mode, fn)
		if ctx.Err() != nil {
			fmt.Println("clean")
			return 0
		}
		if errors.Is(err, ErrGone) {
			return 0
		} else if err != nil {
			fmt.Println(err)
			return 1
		}
		if last == oneRound {
			fmt.Println(strings.Join(names, " "))
			return 0
		}
	}
}

// round is one piece of work.
func round(ctx context.Context, pid int, o Options, mode string, fn uint64) error {
	_, err := Run(ctx, pid, o, func(tr *Tracee) error {
		if mode == "whilerunning" {
			if err := tr.WhileRunning(ctx, func() error { return nil }); err != nil {
				return err
			}
		}
		for _, th := range tr.Threads()[:min(3, len(tr.Threads()))] {
			r, err := tr.Syscalls(ctx, th, Call{Nr: unix.SYS_GETPID}, Call{Nr: unix.SYS_GETTID})
			if err != nil {
				return err
			}
			if len(r) != 2 || r[0].Value != uint64(pid) || r[1].Value != uint64(th.TID) {
				return fmt.Errorf("results %+v", r)
			}
			if mode == "syscalls" || mode == "whilerunning" {
				continue
			}
			if mode == "batch" {
				r, err := tr.Batch(ctx, th, []byte("x\x00"), memoryFile)
				if !errors.Is(err, ErrNoBatch) && (err != nil || r[5].Errno != 0) {
					// it may be sleeping at this moment
					return fmt.Errorf("batch: %+v %w", r, err)
				}
				continue
			}
			for range 2 {
				v, err := tr.Call(ctx, th, fn, 1, 2, 3, 4, 5, 6)
				if err != nil || v != 91 {
					return fmt.Errorf("called: %d, %w", v, err)
				}
			}
		}
		return nil
	})
	return err
}

// startEngine starts the engine on a target.
func startEngine(c *checker, step int, mode string) *exec.Cmd {
	return targettest.Engine(c.t, "TRACER_TEST_ENGINE", fmt.Sprintf("%d %d %s %d", c.pid, step,
		mode, c.sum))
}

// memoryFile are calls that make a memory file, give it a size and close it again; the file's name
// is at an address.
func memoryFile(name uint64) []BatchCall {
	return []BatchCall{
		{Call: Call{Nr: unix.SYS_GETPID}},
		{Call: Call{Nr: unix.SYS_MEMFD_CREATE, Args: [6]uint64{name}}},
		{Call: Call{Nr: unix.SYS_FTRUNCATE, Args: [6]uint64{0, 4096}}, Arg: 1, From: 1},
		{Call: Call{Nr: unix.SYS_MMAP, Args: [6]uint64{0, 4096, unix.PROT_READ, unix.MAP_PRIVATE}},
			Arg: 5, From: 1},
		{Call: Call{Nr: unix.SYS_MUNMAP, Args: [6]uint64{0, 4096}}, Arg: 1, From: 3},
		{Call: Call{Nr: unix.SYS_CLOSE}, Arg: 1, From: 1},
	}
}

// killTargets are what the engine works on, and what it does there.
var killTargets = []struct {
	mode, target string
	threads      int
}{
	{"syscalls", "spin", 2}, {"batch", "spin", 2}, {"batch", "handler", 2},
	{"syscalls", "pause", 2}, {"call", "wait", 2}, {"call", "handler", 2}, {"call", "coroutine", 2},
	{"call", "catch", 2}, {"call", "pause", 64}, {"call", "spin", 1}, {"whilerunning", "spin", 2},
	{"whilerunning", "pause", 2},
	{"whilerunning", "handler", 2}, {"batch", "tiles", 2}, {"call", "tiles", 2},
	{"syscalls", "nokeys", 2},
}

// manyKills is how often to kill: 0 unless LPBUILD_TRACER_KILLS asks for more than a usual run.
func manyKills() int {
	n, _ := strconv.Atoi(os.Getenv("LPBUILD_TRACER_KILLS"))
	return n
}

// TestKilledAtEachStep kills the engine once at each thing that it does; with LPBUILD_TRACER_KILLS
// set, at the first and at the last time that it does so.
func TestKilledAtEachStep(t *testing.T) {
	for _, k := range killTargets {
		c := startChecker(t, k.threads, k.target)
		b, err := startEngine(c, oneRound, k.mode).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		names := strings.Fields(string(b))[1:]
		places := map[string][]int{}
		for n, name := range names {
			places[name] = append(places[name], n)
		}
		kills := 0
		for name, at := range places {
			which := []int{at[rand.N(len(at))]}
			if manyKills() > 0 {
				which = []int{at[0], at[len(at)-1]}
			}
			for _, n := range which {
				kills++
				err := startEngine(c, n, k.mode).Run()
				if !targettest.Killed(err) {
					t.Fatalf("step %d (%s): %v", n, name, err)
				}
				if c.goesOn(); t.Failed() {
					t.Fatalf("%v: killed before step %d (%s)", k, n, name)
				}
			}
		}
		t.Logf("%v: killed %d times at %d steps", k, kills, len(names))
		_ = c.Cmd.Process.Kill()
	}
}

// TestKilledAnywhere kills the engine 100 times, or LPBUILD_TRACER_KILLS times.
func TestKilledAnywhere(t *testing.T) {
	var c *checker
	kills, last := cmp.Or(manyKills(), 100), 0
	for n := range kills {
		// one after the other: all at once would take the CPU from each other
		i := n * len(killTargets) / kills
		if k := killTargets[i]; c == nil || i != last {
			if c != nil {
				_ = c.Cmd.Process.Kill()
			}
			c, last = startChecker(t, k.threads, k.target), i
		}
		killSomewhere(t, startEngine(c, 1<<60, killTargets[i].mode))
		c.what = fmt.Sprintf("kill %d, %v: ", n, killTargets[i])
		if c.goesOn(); t.Failed() {
			t.Fatal(c.what)
		}
	}
}

// TestTerminated ends the engine with SIGTERM or SIGINT at any instant: it ends by itself, when the
// process is clean.
func TestTerminated(t *testing.T) {
	c := startChecker(t, 2, "wait")
	for n := range 30 {
		cmd := startEngine(c, 1<<60, "call")
		said, err := targettest.Interrupt(t, cmd, 3*time.Millisecond,
			[]os.Signal{unix.SIGTERM, unix.SIGINT}[n%2])
		if err != nil || said != "clean\n" {
			t.Errorf("%v: %s", err, said)
		}
		for _, tid := range must(tasks(c.pid)) {
			if state, tracer := stat(t, c.pid, tid); tracer != 0 || strings.Contains("tT", state) {
				t.Errorf("thread %d: state %s, tracer %d", tid, state, tracer)
			}
		}
	}
	c.goesOn()
}

// killSomewhere lets an engine work for up to 3 ms.
func killSomewhere(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	targettest.KillSomewhere(t, cmd, 3*time.Millisecond)
}

// TestKilledInStorm kills the engine again and again while numbered signals come to its target,
// half of the time just when it has one in its hands: none may be lost with it.
func TestKilledInStorm(t *testing.T) {
	for signals := 20000; ; signals *= 4 {
		held := killInStorm(t, signals)
		t.Logf("%d signals: killed with one in its hands %d times", signals, held)
		if held > 0 {
			return
		}
		if signals > 1000000 {
			// on a busy machine, a storm may be over before an engine has started
			t.Fatal("never killed with a signal in its hands")
		}
	}
}

// killInStorm kills engines while that many signals come, and returns how many had one in their
// hands.
func killInStorm(t *testing.T, signals int) (held int) {
	t.Helper()
	c := start(t, program(t, "life"), "storm", itoa(signals))
	for n, state := 0, "R"; state != "Z"; n++ {
		if n%2 == 0 {
			killSomewhere(t, startEngine(&checker{child: c}, 1<<60,
				[]string{"syscalls", "whilerunning"}[n/2%2]))
		} else if err := startEngine(&checker{child: c}, atHandOn, "syscalls").Run(); err != nil {
			held++
		}
		state, _ = stat(t, c.pid, c.pid)
	}
	if got, code := c.Line(), c.Wait(); got != fmt.Sprintf("%d %[1]d", signals) || code != 0 {
		t.Fatalf("%q, exit code %d", got, code)
	}
	return held
}
