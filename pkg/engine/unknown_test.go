package engine_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// groupCounts make /proc/PID/status shorter than, as long as, and longer than buffers that one
// might think of: 8 KiB with 664 to 680 groups, 64 KiB and 128 KiB with thousands.
func groupCounts() []int {
	counts := []int{0, 3, 600, 900, 1500, 20000}
	for n := 650; n <= 690; n += 2 {
		counts = append(counts, n)
	}
	return counts
}

// TestManyGroups has the engines work on processes with many supplementary groups and a filter that
// kills on memfd_create. Each is patched, or fails and says why, and lives: it is never taken for
// gone, for unfiltered or for one that is not concerned. A dry run says the same.
func TestManyGroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("setting supplementary groups needs root")
	}
	wrapper := builds.GCC(t, "groups", "testdata/groups.c")
	program := gcc(t, "program/groups", "program.c", "-pthread", library(t, "a"))
	ten := read(t, container(t, "a", 10))
	for by, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
		for _, n := range groupCounts() {
			t.Run(by+" "+strconv.Itoa(n), func(t *testing.T) {
				cmd := exec.Command(wrapper, strconv.Itoa(n), program)
				cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")))
				if preload != "" {
					cmd.Env = append(cmd.Env, "LD_PRELOAD="+preload)
				}
				c := run(t, cmd)
				c.says(unpatched)
				expected := verdictOf(t, c, engine.Options{Containers: ten, DryRun: true})
				done := verdictOf(t, c, engine.Options{Containers: ten})
				if done == engine.Changed {
					c.says(tens10)
				} else {
					c.says(unpatched)
				}
				// What a filter forbids the native engine sees under the stop.
				if expected != done && expected != engine.Unsure &&
					(by != "native" || done != engine.Failed) {
					t.Errorf("dry run: %v, run: %v", expected, done)
				}
			})
		}
	}
}

// verdictOf runs as for the whole machine, limited to the process, and returns what became of it:
// Changed or Failed.
func verdictOf(t *testing.T, c *child, o engine.Options) engine.Status {
	t.Helper()
	o.Engines = []engine.Engine{&engine.Libpulp{}, &engine.Native{}}
	o.Only = c.only()
	reports, sum, err := runAll(t, o)
	if err != nil {
		t.Fatal(err)
	}
	r := reports[c.pid]
	if r == nil {
		t.Fatal("no report")
	}
	errs := []error{r.Err}
	for _, res := range r.Results {
		errs = append(errs, res.Err)
	}
	if r.Status != engine.Changed && r.Status != engine.Failed &&
		(!o.DryRun || r.Status != engine.Unsure) {
		t.Errorf("%v: %v", r.Status, errs)
	}
	if slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, process.ErrGone) }) {
		t.Errorf("it lives, and is gone: %v", errs)
	}
	if (r.Status == engine.Failed) != (sum.Failed == 1) {
		t.Errorf("%v, but the summary says %+v", r.Status, sum)
	}
	return r.Status
}

// TestStarting has a dynamic loader wait, in an open of what is to be preloaded, before it has
// mapped the library that is to be patched: whether the process gets it is not known, so it is
// waited for, and it fails if that takes too long.
func TestStarting(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "preload")
	must(t, unix.Mkfifo(fifo, 0o600))
	program := gcc(t, "program/starting", "program.c", "-pthread", library(t, "a"))
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")), "LD_PRELOAD="+
		fifo)
	c := &child{targettest.Start(t, cmd), t, cmd.Process.Pid}
	targettest.Await(t, "the loader", func() bool {
		p, err := process.Look(t.Context(), c.pid, process.Options{})
		return err == nil && p.Exe == program && p.State == process.Sleeping
	})
	ten := read(t, container(t, "a", 10))
	for _, dry := range []bool{true, false} {
		o := engine.Options{Containers: ten, Engines: onlyNative, Only: c.only(),
			Timeout: 200 * time.Millisecond, DryRun: dry, Attempts: 1}
		reports, sum, err := runAll(t, o)
		must(t, err)
		if r := reports[c.pid]; r == nil || sum.Failed != 1 ||
			!errors.Is(r.Err, process.ErrStarting) {
			t.Errorf("dry run %v: %+v, %+v", dry, r, sum)
		}
	}
	go func() { // it goes on without what is to be preloaded
		time.Sleep(20 * time.Millisecond)
		if f, err := os.OpenFile(fifo, os.O_WRONLY, 0); err == nil {
			f.Close()
		}
	}()
	// Looking at it while it starts is no attempt. On a busy machine it may still map libraries
	// when it is stopped first, which is.
	if got := verdictOf(t, c, engine.Options{Containers: ten, Attempts: 3}); got != engine.Changed {
		t.Errorf("%v", got)
	}
	c.Line()
	c.says(tens10)
}

// only limits a run to the process.
func (c *child) only() func(context.Context, *process.Process) error {
	return func(_ context.Context, p *process.Process) error {
		if p.PID == c.pid {
			return nil
		}
		return engine.ErrElsewhere
	}
}
