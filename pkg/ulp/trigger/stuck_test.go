package trigger_test

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

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// TestVforkParent has a process that cannot be stopped: its time passes, and the other one is patched meanwhile. Its child,
// which has the same memory, must not be taken for a process of its own.
func TestVforkParent(t *testing.T) {
	path := gcc(t, "program/vforkparent", "../../trigger/testdata/vfork.c", library(t, "a"))
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")), "LD_PRELOAD="+standIn(t))
	stuck := run(t, cmd)
	waitState(t, stuck.pid, process.DiskSleep)
	quick := start(t, "a", standIn(t), "vforkother")
	name := trigger.NewWildcard("vfork*")
	var order []int
	reports := map[int]*trigger.Report{}
	sum, err := trigger.Run(t.Context(), trigger.Options{
		Selector: trigger.Selector{Name: &name}, Backends: []trigger.Backend{&trigger.Libpulp{}}, Containers: read(t, container(t, "a", 10)),
		Workers: 1, Timeout: 3 * time.Second,
	}, func(r *trigger.Report) {
		order = append(order, r.PID)
		reports[r.PID] = r
	})
	must(t, err)
	r := reports[stuck.pid]
	if r == nil || r.Status != trigger.Failed || sum.Changed != 1 || sum.Skipped != 1 || order[0] != quick.pid {
		t.Fatalf("%+v, %+v", sum, r)
	}
	if got := r.Results[0].Err; !errors.Is(got, tracer.ErrNotStopping) && !errors.Is(got, trigger.ErrDeadline) {
		t.Errorf("%v", got)
	}
	quick.says(tens10)
}

func init() { jobs["tracer"] = traceJob }

// TestTraced has a process that another tracer has: it fails, and says why; once the tracer is gone it is patched.
func TestTraced(t *testing.T) {
	c := start(t, "a", standIn(t), "traced")
	job := exec.Command(os.Args[0])
	job.Env = append(os.Environ(), "TRIGGER_TEST_JOB=tracer", "TRIGGER_TEST_PIDS="+strconv.Itoa(c.pid))
	debugger := run(t, job)
	o := trigger.Options{Containers: read(t, container(t, "a", 10)), Timeout: 500 * time.Millisecond}
	r := c.one(o)
	c.is(trigger.Failed, tracer.ErrTraced, r)
	debugger.Kill()
	o.Timeout = 0
	r = c.one(o)
	c.is(trigger.Changed, nil, r)
	c.says(tens10)
}

// traceJob traces a process until it is killed.
func traceJob() int {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(os.Getenv("TRIGGER_TEST_PIDS"))
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
		w := trigger.NewWildcard(name)
		go func() {
			for _, c := range children {
				_ = c.Cmd.Process.Kill()
			}
		}()
		sum, err := trigger.Run(t.Context(), trigger.Options{
			Selector: trigger.Selector{Name: &w}, Backends: []trigger.Backend{&trigger.Libpulp{}}, Containers: cs,
		}, nil)
		if err != nil || sum.Failed != 0 {
			t.Errorf("%v, %+v", err, sum)
		}
		for _, c := range children {
			c.Kill()
		}
	}
}
