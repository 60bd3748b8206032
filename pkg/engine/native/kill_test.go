package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// oneRound makes the engine print its steps after one round, instead of killing itself at one.
const oneRound = -1

// engine is this test binary as a process that applies and reverts until it is killed: "PID STEP
// FILE ONEBYONE ONTOP TWOSTOPS LOAD".
func engine(job string) int {
	var pid, last int
	var path string
	var oneByOne, onTop, twoStops bool
	var load string
	if _, err := fmt.Sscanf(job, "%d %d %s %v %v %v %q", &pid, &last, &path, &oneByOne, &onTop,
		&twoStops, &load); err != nil {
		return 1
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return 1
	}
	p, err := openPatch(image)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	info, err := os.Stat(path)
	if err != nil {
		return 1
	}
	p.File = NewFile(path, info)
	steps := 0
	o := Options{StopTimeout: 5 * time.Second, oneByOne: oneByOne, twoStops: twoStops, load: load,
		step: func(string) {
			if steps == last {
				targettest.KillSelf()
			}
			steps++
		}}
	fmt.Println("ready")
	for {
		for _, ch := range []Change{{Apply: []*Patch{p}},
			{Revert: func(a AppliedPatch) bool { return !onTop || a.ID == p.Meta.PatchID }}} {
			proc, err := process.Look(context.Background(), pid, process.Options{})
			if err == nil {
				_, err = do(context.Background(), proc, ch, o)
			}
			if err != nil && !errors.Is(err, ErrApplied) && !errors.Is(err, ErrNotApplied) {
				fmt.Println(err)
				return 1
			}
		}
		if last == oneRound {
			fmt.Println(steps)
			return 0
		}
	}
}

func startEngine(t testing.TB, pid, step int, path string) *exec.Cmd {
	return startEngineAs(t, pid, step, work{path: path})
}

// work is what an engine does again and again, with the live patch in a file.
type work struct {
	path     string
	oneByOne bool // as the option
	onTop    bool // it leaves other live patches as they are
	twoStops bool
	load     string
}

func startEngineAs(t testing.TB, pid, step int, w work) *exec.Cmd {
	return targettest.Engine(t, "NATIVE_TEST_ENGINE", fmt.Sprintf("%d %d %s %v %v %v %q", pid, step,
		w.path, w.oneByOne, w.onTop, w.twoStops, w.load))
}

// stepsOf has the engine do one round, and returns how many steps that takes.
func stepsOf(t *testing.T, pid int, w work) int {
	t.Helper()
	out, err := startEngineAs(t, pid, oneRound, w).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	steps, err := strconv.Atoi(strings.Fields(string(out))[1])
	if err != nil || steps < leastSteps {
		t.Fatalf("only %d steps: %s: %v", steps, out, err)
	}
	return steps
}

// whole fails the test unless the live patch is applied to the process, or not, but nothing
// between.
func (c *child) whole(what string) {
	c.t.Helper()
	if got := c.Ask("all"); got != original && got != patched {
		c.t.Fatalf("%s: %q", what, got)
	}
	c.right()
}

// cleared reverts and cleans up until nothing is left.
func (c *child) cleared(before string) {
	c.t.Helper()
	began := time.Now()
	for deadline := began.Add(20 * time.Second); ; {
		ch := Change{Revert: everyOne}
		if len(c.list()) == 0 {
			ch.Revert = nil
		}
		c.change(ch, Options{})
		if now := c.snapshot(); now == before {
			return
		} else if time.Now().After(deadline) {
			c.t.Fatalf("not as before, %d kept: %s", c.change(Change{}, Options{}).Retired,
				cmp.Diff(before, now))
		}
		c.Ask("all") // what the engine left on the stack of who waits for this is overwritten by it
		if time.Since(began) > 5*time.Second {
			c.forget(before)
		}
	}
}

// forget overwrites words in the program's writable memory that look like addresses in executable
// memory that was not there before. A slot of a stack frame that is never written again may keep
// one for as long as its function runs, and the engine has to take it for an address to return to.
// The program goes on only if they are nothing but that.
func (c *child) forget(before string) {
	c.t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	defer mem.Close()
	var ours [][2]uint64
	for line := range strings.Lines(string(maps)) {
		var r [2]uint64
		if n, _ := fmt.Sscanf(line, "%x-%x r-xp", &r[0], &r[1]); n == 2 &&
			strings.Contains(line, " r-xp ") &&
			!strings.Contains(line, "[") && !strings.Contains(before,
			line[:strings.IndexByte(line, ' ')]) {
			ours = append(ours, r)
		}
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x rw-p", &from, &to); n != 2 ||
			!strings.Contains(line, " rw-p ") || to-from > 64<<20 {
			continue
		}
		b := make([]byte, to-from)
		if _, err := mem.ReadAt(b, int64(from)); err != nil {
			continue
		}
		for i := 0; i+8 <= len(b); i += 8 {
			v := le.Uint64(b[i:])
			if slices.ContainsFunc(ours, func(r [2]uint64) bool { return v >= r[0] && v < r[1] }) {
				c.t.Logf("a stale word at %#x, %#x, in %s", from+uint64(i), v,
					strings.TrimSpace(line))
				c.poke(from+uint64(i), make([]byte, 8))
			}
		}
	}
}

// TestKilledAtEachStep kills the engine before each thing it does, while threads call the
// functions. The process goes on, with all functions switched or none; and a later engine finds
// everything and takes it back.
func TestKilledAtEachStep(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	path := file(t, p)
	c := start(t, target(t, lib), 2)
	before := c.snapshot()
	for _, load := range loads(t, "", "file") {
		for _, oneByOne := range []bool{false, true} {
			killAtEachStep(t, c, p, before, work{path: path, oneByOne: oneByOne, load: load})
		}
	}
}

func killAtEachStep(t *testing.T, c *child, p *Patch, before string, w work) {
	t.Helper()
	steps := stepsOf(t, c.pid, w)
	c.cleared(before)
	for n := range steps {
		err := startEngineAs(t, c.pid, n, w).Run()
		if !targettest.Killed(err) {
			t.Fatalf("step %d: %v", n, err)
		}
		c.whole(fmt.Sprintf("killed before step %d", n))
		if n%2 == 0 || len(c.list()) == 0 { // goes on from what is there
			_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, Options{})
			if err != nil && !errors.Is(err, ErrApplied) {
				t.Fatalf("after a kill before step %d: %v", n, err)
			}
			c.says("all", patched)
		}
		c.cleared(before)
		c.says("all", original)
	}
	t.Logf("%+v: %d steps", w, steps)
}

// TestKilledOnTop kills the engine before each thing it does to put a live patch of more functions
// on top of another one, and to take it out. The process has the one or both, and what is listed is
// what it has.
func TestKilledOnTop(t *testing.T) {
	lib := library(t, nopFlags)
	below := answer(t, lib, 3, both)
	top := work{path: file(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")),
		onTop: true}
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	c.apply(Options{}, below)
	steps := stepsOf(t, c.pid, top)
	states := map[string]string{"3 3 5 7 original": "1:2", patched: "1:2 2:8"}
	seen := map[string]bool{}
	for n := range steps {
		if err := startEngineAs(t, c.pid, n, top).Run(); !targettest.Killed(err) {
			t.Fatalf("step %d: %v", n, err)
		}
		got := c.Ask("all")
		if active := c.active(); states[got] == "" || active != states[got] {
			t.Fatalf("killed before step %d: %q with %q", n, got, active)
		}
		seen[got] = true
		c.cleared(before)
		c.says("all", original)
		c.apply(Options{}, below)
	}
	if len(seen) != len(states) {
		t.Errorf("only seen: %v", seen)
	}
}

// TestNeverFinished: what a killed engine had not finished is given back, even if a thread has a
// word on its stack that looks like an address in it, as the engine's own calls leave there.
func TestNeverFinished(t *testing.T) {
	lib := library(t, nopFlags)
	path := file(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	stack := regexp.MustCompile(`(?m)^([0-9a-f]+) .*\[stack\]`).FindStringSubmatch(before)
	end, err := strconv.ParseUint(stack[1], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for n := 0; c.active() == ""; n++ {
		_ = startEngineAs(t, c.pid, n, work{path: path, oneByOne: true}).Run()
		c.whole("home again")
		v := opened(t, c.pid)
		st, err := v.readState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(st.unfinished) > 0 {
			var head [8]byte
			base := st.unfinished[0].off
			if _, err := v.m.ReadAt(t.Context(), head[:], base); err != nil {
				t.Fatal(err)
			}
			found[string(head[:])]++
			c.poke(end-8, le.AppendUint64(nil, base)) // after the environment
			c.change(Change{}, Options{})
			c.poke(end-8, make([]byte, 8))
			if d := cmp.Diff(before, c.snapshot()); d != "" {
				t.Fatalf("killed before step %d: %s", n, d)
			}
		}
	}
	if found[markMagic] == 0 || found["\x00\x00\x00\x00\x00\x00\x00\x00"] == 0 {
		t.Errorf("not killed both before and after the mark: %v", found)
	}
}

// leastSteps is how many things an engine does at least to apply and revert.
const leastSteps = 40

// TestKilledAnywhere kills the engine 100 times, or LPBUILD_NATIVE_KILLS times, at any instant.
func TestKilledAnywhere(t *testing.T) {
	kills := 100
	if n, err := strconv.Atoi(os.Getenv("LPBUILD_NATIVE_KILLS")); err == nil {
		kills = n
	}
	lib := library(t, nopFlags)
	path := file(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	c := start(t, target(t, lib), 2)
	before := c.snapshot()
	left := map[string]int{}
	var limit time.Duration
	for n := range kills {
		if n%10 == 0 {
			// as long as it takes to apply and revert on a machine that is as busy as this one is
			// now
			began := time.Now()
			if out, err := startEngineAs(t, c.pid, oneRound, work{path: path}).
				Output(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			limit = max(20*time.Millisecond, time.Since(began))
		}
		targettest.KillSomewhere(t, startEngineAs(t, c.pid, 1<<30,
			work{path: path, oneByOne: n%4 == 3}), limit)
		c.whole(fmt.Sprintf("kill %d", n))
		left[c.left(before)]++
		if n%10 == 9 { // otherwise the next engine finds what this one left
			c.cleared(before)
			if left["applied"] == 0 { // the machine has much else to do: give the engine more time
				limit *= 2
			}
		}
	}
	c.cleared(before)
	t.Logf("after the kills: %v", left)
	if left["applied"] == 0 || left["nothing"]+left["something"] == 0 {
		t.Errorf("the engine was always killed at the same place: %v", left)
	}
}

// left says what a killed engine has left in the process.
func (c *child) left(before string) string {
	c.t.Helper()
	switch {
	case c.active() != "":
		return "applied"
	case c.snapshot() == before:
		return "nothing"
	}
	return "something"
}

// TestTargetDies kills the process before each thing that is done to it: that is ErrGone, unless it
// was noticed too late, and nothing hangs.
func TestTargetDies(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	deaths := 0
	for n, died := 0, true; died; n++ {
		deaths = n
		c := start(t, target(t, lib), 2)
		steps := 0
		died = false
		o := Options{step: func(string) {
			if steps == n {
				_ = unix.Kill(c.pid, unix.SIGKILL)
				died = true
			}
			steps++
		}}
		_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, o)
		switch {
		case died && err != nil && !errors.Is(err, tracer.ErrGone) &&
			!errors.Is(err, process.ErrGone) &&
			!errors.Is(err, process.ErrNoMemory): // a zombie by the time of the next attempt
			t.Errorf("killed before step %d: %v", n, err)
		case !died && err != nil:
			t.Error(err)
		}
	}
	if deaths < leastSteps/2 {
		t.Errorf("it died at %d steps only", deaths)
	}
}

// ourMapping is a mapping of what lpbuild brings into a process, by which nothing else of a test's
// program is described.
var ourMapping = regexp.MustCompile(`(?m)^([0-9a-f]+)-\S+ r-xp 00000000 00:00 0 *$`)
