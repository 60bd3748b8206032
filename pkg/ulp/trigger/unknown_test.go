package trigger_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// groupCounts make /proc/PID/status shorter than, as long as, and longer than buffers that one might think of: 8 KiB with
// 664 to 680 groups, 64 KiB and 128 KiB with thousands.
func groupCounts() []int {
	counts := []int{0, 3, 600, 900, 1500, 20000}
	for n := 650; n <= 690; n += 2 {
		counts = append(counts, n)
	}
	return counts
}

// TestManyGroups has the engines work on processes with many supplementary groups and a filter that kills on
// memfd_create. Each is patched, or fails and says why, and lives: it is never taken for gone, for unfiltered or for one
// that is not concerned. A dry run says the same.
func TestManyGroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("setting supplementary groups needs root")
	}
	wrapper := builds.GCC(t, "groups", "testdata/groups.c")
	program := gcc(t, "program/groups", "program.c", "-pthread", library(t, "a"))
	ten := read(t, container(t, "a", 10))
	for engine, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
		for _, n := range groupCounts() {
			t.Run(engine+" "+strconv.Itoa(n), func(t *testing.T) {
				cmd := exec.Command(wrapper, strconv.Itoa(n), program)
				cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")))
				if preload != "" {
					cmd.Env = append(cmd.Env, "LD_PRELOAD="+preload)
				}
				c := run(t, cmd)
				c.says(unpatched)
				expected := verdictOf(t, c, trigger.Options{Containers: ten, DryRun: true})
				done := verdictOf(t, c, trigger.Options{Containers: ten})
				if done == trigger.Changed {
					c.says(tens10)
				} else {
					c.says(unpatched)
				}
				// What a filter forbids the native engine sees under the stop.
				if expected != done && (engine != "native" || done != trigger.Failed) {
					t.Errorf("dry run: %v, run: %v", expected, done)
				}
			})
		}
	}
}

// verdictOf runs as for the whole machine, limited to the process, and returns what became of it: Changed or Failed.
func verdictOf(t *testing.T, c *child, o trigger.Options) trigger.Status {
	t.Helper()
	o.Backends = []trigger.Backend{&trigger.Libpulp{}, &trigger.Native{}}
	o.Only = func(_ context.Context, p *process.Process) error {
		if p.PID == c.pid {
			return nil
		}
		return trigger.ErrElsewhere
	}
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
	if r.Status != trigger.Changed && r.Status != trigger.Failed {
		t.Errorf("%v: %v", r.Status, errs)
	}
	if slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, process.ErrGone) }) {
		t.Errorf("it lives, and is gone: %v", errs)
	}
	if (r.Status == trigger.Failed) != (sum.Failed == 1) {
		t.Errorf("%v, but the summary says %+v", r.Status, sum)
	}
	return r.Status
}
