package libpulp_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// never is a step that is not reached.
const never = 1 << 60

// engine is this test binary as a process of its own that is killed: "PID STEP OPERATION PATH". At
// its STEPth step it kills itself; else it prints the names of its steps, after one operation
// ("apply", "revert", or "fail", which is an apply that fails), or goes on for ever ("both").
func engine(job string) int {
	var pid, last int
	var op, path string
	if _, err := fmt.Sscan(job, &pid, &last, &op, &path); err != nil {
		return 1
	}
	p, err := loadPatch(path)
	if err != nil {
		return 1
	}
	var names []string
	hook := func(name string) {
		if len(names) == last {
			targettest.KillSelf()
		}
		if op != "both" {
			names = append(names, name)
		}
	}
	libpulp.SetStep(hook)
	o := tracer.WithStep(tracer.Options{StopTimeout: 5 * time.Second}, hook)
	fmt.Println("ready")
	for n := 0; ; n++ {
		err := engineDo(pid, o, p, path, op == "apply" || op == "fail" || op == "both" && n%2 == 0)
		switch {
		case op == "fail" != (err != nil) && op != "both", op == "both" && !tolerable(err):
			fmt.Println(err)
			return 1
		case op != "both":
			fmt.Println(strings.Join(names, " "))
			return 0
		}
	}
}

// tolerable reports whether an engine that does not know what its predecessor did may get such an
// error.
func tolerable(err error) bool {
	return err == nil || errors.Is(err, libpulp.ErrAgain) || errors.Is(err, libpulp.ErrApplied) ||
		errors.Is(err, libpulp.ErrNotApplied)
}

func engineDo(pid int, o tracer.Options, p *libpulp.Patch, path string, apply bool) error {
	ctx := context.Background()
	r, err := findIn(ctx, pid)
	if err != nil {
		return err
	}
	defer r.Close()
	var plan *libpulp.Plan
	if apply {
		plan, err = r.PlanApply(ctx, p, path)
	} else {
		plan, err = r.PlanRevert(ctx, p.ID())
	}
	if err != nil {
		return err
	}
	_, err = r.Stop(ctx, o, func(s *libpulp.Session) error { return s.Do(ctx, plan) })
	return err
}

func startEngine(c *child, step int, op, path string) *exec.Cmd {
	return targettest.Engine(c.t, "LIBPULP_TEST_ENGINE", fmt.Sprintf("%d %d %s %s", c.pid, step, op,
		path))
}

// whole fails the test unless each function does either what it did or what the patch has it do,
// and the process runs untraced.
func (c *child) whole() {
	c.t.Helper()
	f := strings.Fields(c.values())
	for i, want := range [][]string{{"1", "10"}, {"2", "20"}, {"3"}, {"107", "1107"}} {
		if len(f) != 4 || !slices.Contains(want, f[i]) {
			c.t.Fatalf("the functions return %q", f)
		}
	}
	p, err := process.Look(c.t.Context(), c.pid, process.Options{})
	must(c.t, "look", err)
	if p.TracerPID != 0 || p.State == process.Stopped || p.State == process.TracingStop {
		c.t.Fatalf("state %s, tracer %d", p.State, p.TracerPID)
	}
}

// reach brings the process into a state, whatever was left undone.
func (c *child) reach(p *libpulp.Patch, path string, applied bool) {
	c.t.Helper()
	var err error
	want := "1 2 3 107"
	if applied {
		want = "10 20 3 1107"
		if err = c.apply(p, path); errors.Is(err, libpulp.ErrApplied) {
			err = nil
		}
	} else if err = c.revert(p); errors.Is(err, libpulp.ErrNotApplied) {
		err = nil
	}
	must(c.t, "finish", err)
	c.says(want)
}

// manyKills is how often to kill: 0 unless LPBUILD_LIBPULP_KILLS asks for more than a usual run.
func manyKills() int {
	n, _ := strconv.Atoi(os.Getenv("LPBUILD_LIBPULP_KILLS"))
	return n
}

// TestKilledAtEachStep kills the engine before the first and the last time that it does each thing,
// or with LPBUILD_LIBPULP_KILLS every time. The process goes on, each function wholly old or wholly
// new, and the next run finishes: after a revert, with the NOPs that were there, unless libpulp.so
// has no queue.
func TestKilledAtEachStep(t *testing.T) {
	for _, f := range flavours(t) {
		lib := library(t, !f.old)
		p, path := container(t, lib, 10, all...)
		c := start(t, lib, f, "", "1")
		original := c.code(lib)
		for _, op := range []string{"apply", "revert"} {
			c.reach(p, path, op == "revert")
			b, err := startEngine(c, never, op, path).Output()
			if err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			names, kills := strings.Fields(string(b))[1:], 0
			for n, name := range names {
				if name != "write" && manyKills() == 0 && slices.Contains(names[:n], name) &&
					slices.Contains(names[n+1:], name) {
					continue
				}
				c.reach(p, path, op == "revert")
				err := startEngine(c, n, op, path).Run()
				if !targettest.Killed(err) {
					t.Fatalf("step %d (%s): %v", n, name, err)
				}
				c.whole()
				if c.reach(p, path, op == "apply"); t.Failed() {
					t.Fatalf("%s: %s: killed before step %d (%s)", f.name, op, n, name)
				}
				if op == "revert" && !f.old && !sameButTwo(original, c.code(lib)) {
					t.Errorf("%s: killed before step %d (%s): the code is not as it was", f.name, n,
						name)
				}
				kills++
			}
			t.Logf("%s: %s: killed %d times at %d steps", f.name, op, kills, len(names))
		}
	}
}

// TestKilledWhileUndoing kills the engine while it takes back an attempt that failed, or with
// LPBUILD_LIBPULP_KILLS before each step of it: the process never runs any of it.
func TestKilledWhileUndoing(t *testing.T) {
	lib := library(t, true)
	p, path := container(t, lib, 10, all...)
	for _, mode := range []string{"elsewhere", "half 278"} {
		f := flavour{path: standIn(t)}
		b, err := startEngine(start(t, lib, f, mode, "1"), never, "fail", path).Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", mode, err, b)
		}
		names := strings.Fields(string(b))[1:]
		for n := range names {
			if manyKills() == 0 && !slices.Contains([]string{"write", "resume", "back:stack"},
				names[n]) {
				continue
			}
			c := start(t, lib, f, mode, "1")
			if err := startEngine(c, n, "fail", path).Run(); err == nil {
				t.Fatalf("%s: not killed before step %d", mode, n)
			}
			c.whole()
			c.says("1 2 3 107")
			if err := c.tryApply(t.Context(), p, path); err == nil {
				t.Errorf("%s: step %d: applied", mode, n)
			}
			c.says("1 2 3 107")
		}
	}
}

// TestKilledAnywhere kills the engine 60 times, or LPBUILD_LIBPULP_KILLS times, while it applies
// and reverts all the time.
func TestKilledAnywhere(t *testing.T) {
	kills, end := 60, time.Now().Add(15*time.Second)
	if n := manyKills(); n > 0 {
		kills, end = n, time.Now().Add(time.Hour)
	}
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	fl := flavours(t)
	children := make([]*child, len(fl))
	for i, f := range fl {
		children[i] = start(t, lib, f, "", "1")
	}
	n := 0
	for ; n < kills && time.Now().Before(end); n++ {
		c := children[n%len(fl)]
		targettest.KillSomewhere(t, startEngine(c, never, "both", path), 10*time.Millisecond)
		c.whole()
		if c.reach(p, path, n%2 == 0); t.Failed() {
			t.Fatalf("kill %d, %s", n, fl[n%len(fl)].name)
		}
	}
	t.Logf("%d kills", n)
}
