package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// forking is a process that forks others while a run has it, or one of them, in hand and has not
// changed it yet.
type forking struct {
	*child
	t    *testing.T
	name string
	pids []int
}

func startForking(t *testing.T, name, preload string) *forking {
	t.Helper()
	name = fmt.Sprintf("%s%d", name, os.Getpid())
	cmd := exec.Command(gcc(t, "program/"+name, "../../testdata/forks.c", library(t, "a")))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")))
	if preload != "" {
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+preload)
	}
	c := run(t, cmd)
	return &forking{c, t, name, []int{c.pid}}
}

// run runs for all of the processes, each of which forks another one until there are n.
func (f *forking) run(o engine.Options, n int) (map[int]*engine.Report, engine.Summary, error) {
	f.t.Helper()
	w := engine.NewWildcard(f.name)
	o.Selector.Name, o.Workers = &w, 1
	begun := map[int]bool{}
	var mu sync.Mutex // a slow visit gives its place to the next one
	o.Only = func(_ context.Context, p *process.Process) error {
		mu.Lock()
		defer mu.Unlock()
		if !begun[p.PID] && len(f.pids) < n {
			pid, err := strconv.Atoi(f.Ask("f"))
			if err != nil {
				f.t.Error(err)
			}
			f.pids = append(f.pids, pid)
		}
		begun[p.PID] = true
		return nil
	}
	return runAll(f.t, o)
}

// TestForkedMeanwhile applies and reverts live patches also in processes that are forked during the
// run by one that is not changed yet, and by these in turn.
func TestForkedMeanwhile(t *testing.T) {
	for name, by := range map[string]engine.Engine{"": &engine.Native{},
		standIn(t): &engine.Libpulp{}} {
		f := startForking(t, "forkm"+by.Name()[:3], name)
		o := engine.Options{Engines: []engine.Engine{by},
			Containers: read(t, container(t, "a", 10))}
		for n, value := range []string{"10", "1", "10"} {
			n = 3 * (n + 1)
			reports, sum, err := f.run(o, n)
			if err != nil || sum.Changed != n || sum.Processes() != n {
				t.Errorf("%s: %v: %+v, want %d changed", by.Name(), err, sum, n)
			}
			for _, pid := range f.pids {
				if r := reports[pid]; r == nil || r.Status != engine.Changed {
					t.Errorf("%s: process %d of %d: %v", by.Name(), pid, f.pids, why(r))
				}
			}
			f.Answers("", strings.TrimSpace(strings.Repeat(value+" ", n)))
			o.Revert = !o.Revert
		}
	}
}

// TestForkStorm ends although each process that is changed forks another one before, and names
// those that are left.
func TestForkStorm(t *testing.T) {
	f := startForking(t, "storm", "")
	o := engine.Options{Engines: onlyNative, Containers: read(t, container(t, "a", 10))}
	_, sum, err := f.run(o, 90)
	e, ok := errors.AsType[*process.UnbegunError](err)
	if !ok || !errors.Is(err, process.ErrForking) || sum.Changed != len(f.pids)-1 ||
		len(f.pids) == 90 {
		t.Fatalf("%v: %+v, %d processes", err, sum, len(f.pids))
	}
	o.First = e.PIDs
	if _, sum, err = f.run(o, 0); err != nil || sum.Changed != 1 || sum.Already != len(f.pids)-1 {
		t.Errorf("again: %v: %+v, %d processes", err, sum, len(f.pids))
	}
}
