package engine_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// vforkParent is a process that cannot be stopped, and its child has its memory.
func vforkParent(t *testing.T, name, preload string) *child {
	t.Helper()
	cmd := exec.Command(gcc(t, "program/"+name, "../../testdata/vfork.c", library(t, "a")))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")), "LD_PRELOAD="+
		preload)
	c := run(t, cmd)
	waitState(t, c.pid, process.DiskSleep)
	return c
}

// TestLeft has processes that no engine can change, whatever is done: they are skipped with the
// reason, and counted as left. One with another build, or without the library, is none of them.
func TestLeft(t *testing.T) {
	emulator := gcc(t, "program/left_emulator", "../../native/testdata/emulator.c", "-static")
	run(t, exec.Command(emulator, library(t, "a")))
	parent := vforkParent(t, "left_vfork", "")
	start(t, "bb", "", "left_build")
	good := start(t, "a", "", "left_good")
	name := engine.NewWildcard("left_*")
	for _, dry := range []bool{true, false} {
		reports, sum, err := runAll(t, engine.Options{Selector: engine.Selector{Name: &name},
			Engines: auto(), Containers: read(t, container(t, "a", 10)), Timeout: time.Hour,
			DryRun: dry}) // which nobody waits for
		must(t, err)
		if sum.Changed != 1 || sum.Failed != 0 || sum.Skipped != 4 || sum.Left != 3 ||
			sum.Foreign != 1 {
			t.Errorf("%+v", sum)
		}
		why := map[string]error{"left_emulator": engine.ErrNoEngine, "left_vfork": engine.ErrShared}
		for pid, r := range reports {
			switch {
			case r.Left != (r.Name == "left_emulator" || r.Name == "left_vfork"):
				t.Errorf("%+v", r)
			case r.Left && pid != parent.pid && r.Name == "left_vfork":
				if !errors.Is(r.Results[0].Err, engine.ErrVfork) {
					t.Errorf("%+v", r)
				}
			case r.Left && !errors.Is(r.Results[0].Err, why[r.Name]):
				t.Errorf("%+v", r)
			}
		}
	}
	good.says(tens10)
}

// TestVforkParent has a process that cannot be stopped: its time passes, and the other one is
// patched meanwhile. Its child, which has the same memory, must not be taken for a process of its
// own.
func TestVforkParent(t *testing.T) {
	stuck := vforkParent(t, "vforkparent", standIn(t))
	quick := start(t, "a", standIn(t), "vforkother")
	name := engine.NewWildcard("vfork*")
	var order []int
	reports := map[int]*engine.Report{}
	sum, err := engine.Run(t.Context(), engine.Options{
		Selector: engine.Selector{Name: &name}, Engines: []engine.Engine{&engine.Libpulp{}},
		Containers: read(t, container(t, "a", 10)),
		Workers:    1, Timeout: 3 * time.Second,
	}, func(r *engine.Report) {
		order = append(order, r.PID)
		reports[r.PID] = r
	})
	must(t, err)
	r := reports[stuck.pid]
	if r == nil || r.Status != engine.Skipped || !r.Left || sum.Changed != 1 || sum.Skipped != 2 ||
		sum.Left != 2 || order[0] != quick.pid {
		t.Fatalf("%+v, %+v", sum, r)
	}
	if got := r.Results[0].Err; !errors.Is(got, engine.ErrShared) || r.Attempts != 0 {
		// which is seen without a stop
		t.Errorf("%v, %d attempts", got, r.Attempts)
	}
	quick.says(tens10)
}

func init() { jobs["tracer"] = traceJob }

// TestTraced has a process that another tracer has: it fails, and says why; once the tracer is gone
// it is patched.
func TestTraced(t *testing.T) {
	c := start(t, "a", standIn(t), "traced")
	job := exec.Command(os.Args[0])
	job.Env = append(os.Environ(), "ENGINE_TEST_JOB=tracer", "ENGINE_TEST_PIDS="+
		strconv.Itoa(c.pid))
	debugger := run(t, job)
	o := engine.Options{Containers: read(t, container(t, "a", 10)), Timeout: 500 * time.Millisecond}
	r := c.one(o)
	c.is(engine.Failed, tracer.ErrTraced, r)
	debugger.Kill()
	o.Timeout = 0
	r = c.one(o)
	c.is(engine.Changed, nil, r)
	c.says(tens10)
}

// traceJob traces a process until it is killed.
func traceJob() int {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(os.Getenv("ENGINE_TEST_PIDS"))
	if err := unix.PtraceSeize(pid); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
	return 0
}

// TestGone lets processes end and execute other programs while they are worked on.
func TestGone(t *testing.T) {
	cs := read(t, container(t, "a", 10))
	for range 20 {
		name := "goner"
		children := []*child{}
		for range 4 {
			children = append(children, start(t, "a", standIn(t), name))
		}
		w := engine.NewWildcard(name)
		go func() {
			for _, c := range children {
				_ = c.Cmd.Process.Kill()
			}
		}()
		sum, err := engine.Run(t.Context(), engine.Options{
			Selector: engine.Selector{Name: &w}, Engines: []engine.Engine{&engine.Libpulp{}},
			Containers: cs,
		}, nil)
		if err != nil || sum.Failed != 0 {
			t.Errorf("%v, %+v", err, sum)
		}
		for _, c := range children {
			c.Kill()
		}
	}
}
