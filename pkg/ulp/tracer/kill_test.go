package tracer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Steps with a meaning.
const (
	oneRound = -1
	atHandOn = -2
)

// engine is this test binary as a process that works on a target until it is killed: "PID STEP MODE FUNCTION". At its STEPth step
// it kills itself; with oneRound it prints its steps' names after one round, with atHandOn it dies when it first holds a signal.
func engine(job string) int {
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
		if len(names) == last || last == atHandOn && name == "attach:handon" {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			time.Sleep(time.Minute)
		}
		names = append(names, name)
	}
	fmt.Println("ready")
	for {
		if err := round(pid, o, mode, fn); errors.Is(err, ErrGone) {
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
func round(pid int, o Options, mode string, fn uint64) error {
	_, err := Run(context.Background(), pid, o, func(tr *Tracee) error {
		for _, th := range tr.Threads() {
			r, err := tr.Syscalls(context.Background(), th, Call{Nr: unix.SYS_GETPID}, Call{Nr: unix.SYS_GETTID})
			if err != nil {
				return err
			}
			if len(r) != 2 || r[0].Value != uint64(pid) || r[1].Value != uint64(th.TID) {
				return fmt.Errorf("results %+v", r)
			}
			if mode == "syscalls" {
				continue
			}
			for range 2 {
				v, err := tr.Call(context.Background(), th, fn, 1, 2, 3, 4, 5, 6)
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
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("TRACER_TEST_ENGINE=%d %d %s %d", c.pid, step, mode, c.sum))
	return cmd
}

// killTargets are what the engine works on, and what it does there.
var killTargets = []struct{ mode, target string }{
	{"syscalls", "spin"}, {"syscalls", "pause"}, {"call", "handler"}, {"call", "pause"}, {"call", "spin"}, {"call", "catch"},
}

// manyKills is how often to kill: 0 unless LPBUILD_TRACER_KILLS asks for more than a usual run.
func manyKills() int {
	n, _ := strconv.Atoi(os.Getenv("LPBUILD_TRACER_KILLS"))
	return n
}

// TestKilledAtEachStep kills the engine before the first and the last time it does each thing; with LPBUILD_TRACER_KILLS
// set, every time.
func TestKilledAtEachStep(t *testing.T) {
	for _, k := range killTargets {
		c := startChecker(t, 2, k.target)
		b, err := startEngine(c, oneRound, k.mode).Output()
		if err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		names := strings.Fields(string(b))[1:]
		kills := 0
		for n, name := range names {
			if manyKills() == 0 && slices.Contains(names[:n], name) && slices.Contains(names[n+1:], name) {
				continue
			}
			kills++
			err := startEngine(c, n, k.mode).Run()
			if ee, ok := errors.AsType[*exec.ExitError](err); !ok || ee.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
				t.Fatalf("step %d (%s): %v", n, name, err)
			}
			if c.goesOn(); t.Failed() {
				t.Fatalf("%s: killed before step %d (%s)", k, n, name)
			}
		}
		t.Logf("%s: killed %d times at %d steps", k, kills, len(names))
	}
}

// TestKilledAnywhere kills the engine 300 times, or LPBUILD_TRACER_KILLS times.
func TestKilledAnywhere(t *testing.T) {
	kills, end := 300, time.Now().Add(15*time.Second)
	if n := manyKills(); n > 0 {
		kills, end = n, time.Now().Add(time.Hour)
	}
	targets := map[string]*checker{}
	n := 0
	for ; n < kills && time.Now().Before(end); n++ {
		k := killTargets[n%len(killTargets)]
		c := targets[k.target]
		if c == nil {
			c = startChecker(t, 2, k.target)
			targets[k.target] = c
		}
		killSomewhere(t, startEngine(c, 1<<60, k.mode))
		if c.goesOn(); t.Failed() {
			t.Fatalf("kill %d, %s", n, k)
		}
	}
	t.Logf("%d kills", n)
}

// killSomewhere lets an engine work for up to 3 ms.
func killSomewhere(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	_, _ = r.ReadString('\n') // ready, or nothing if the target has ended
	time.Sleep(time.Duration(rand.N(3000)) * time.Microsecond)
	_ = cmd.Process.Kill()
	said, _ := io.ReadAll(r)
	if _ = cmd.Wait(); len(said) > 0 { // an error
		t.Errorf("the engine said %s", said)
	}
}

// TestKilledInStorm kills the engine again and again while numbered signals come to its target, half of the time just when
// it has one in its hands: none may be lost with it.
func TestKilledInStorm(t *testing.T) {
	c := start(t, program(t, "life"), "storm", "20000")
	held := 0
	for n, state := 0, "R"; state != "Z"; n++ {
		if n%2 == 0 {
			killSomewhere(t, startEngine(&checker{child: c}, 1<<60, "syscalls"))
		} else if err := startEngine(&checker{child: c}, atHandOn, "syscalls").Run(); err != nil {
			held++
		}
		state, _ = stat(t, c.pid, c.pid)
	}
	if got, code := c.line(), c.wait(); got != "20000 20000" || code != 0 || held == 0 {
		t.Errorf("%q, exit code %d, killed with a signal %d times", got, code, held)
	}
	t.Logf("killed with a signal %d times", held)
}
