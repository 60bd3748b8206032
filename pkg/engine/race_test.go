package engine_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestOneProgramAfterAnother has a process that starts other programs faster than it can be looked
// at, for some time. It is looked at again, as the program that it is then, whatever it was when it
// was seen first.
func TestOneProgramAfterAnother(t *testing.T) {
	execs := gcc(t, "execs", "../../testdata/execs.c", "-static")
	program := gcc(t, "program/execs", "program.c", "-pthread", library(t, "a"))
	ten := read(t, container(t, "a", 10))
	for _, n := range []int{100, 1000, 3000} {
		cmd := exec.Command(execs, fmt.Sprint(n), program)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")))
		c := run(t, cmd)
		reports, sum, err := runAll(t, engine.Options{Containers: ten, Engines: onlyNative,
			Selector: c.selector()})
		must(t, err)
		if r := reports[c.pid]; r != nil && r.Status == engine.Failed || sum.Failed > 0 {
			t.Errorf("%d programs: %+v", n, r)
		}
		if line := c.Line(); line != unpatched && line != tens10 {
			t.Errorf("it says %q", line)
		}
		c.is(engine.Changed, nil, c.once(engine.Options{Containers: ten, Engines: onlyNative,
			Replace: true}))
	}
}

// TestProgramsSeen looks at a process that starts one program with the library after another.
// Neither a dry run nor a survey takes that for a state in which it cannot be changed. On a busy
// machine each look may come to the end of a program, once in a while.
func TestProgramsSeen(t *testing.T) {
	execs := gcc(t, "program/execslib", "../../testdata/execs.c", "-Wl,--no-as-needed",
		library(t, "a"))
	program := gcc(t, "program/execsend", "program.c", "-pthread", library(t, "a"))
	ten := read(t, container(t, "a", 10))
	cmd := exec.Command(execs, "100000", program)
	cmd.Env = append(os.Environ(), "PAUSE=15000", "LD_LIBRARY_PATH="+filepath.Dir(library(t, "a")))
	c := run(t, cmd)
	missed := 0
	for range 20 {
		reports, sum, err := runAll(t, engine.Options{Containers: ten, Engines: onlyNative,
			Selector: c.selector(), DryRun: true})
		must(t, err)
		if r := reports[c.pid]; r == nil || r.Status != engine.Changed {
			missed++
			t.Logf("dry run: %+v, %+v", r, sum)
		}
		list, _, err := engine.Look(t.Context(), engine.SurveyOptions{Selector: c.selector(),
			Engines: onlyNative})
		must(t, err)
		if len(list) != 1 || !list[0].Takes() || len(list[0].Libraries) != 1 {
			missed++
			t.Logf("survey: %d", len(list))
			for _, s := range list {
				t.Logf("%+v", s)
			}
		}
	}
	if missed > 4 {
		t.Errorf("%d of 40 looks say that it cannot be changed", missed)
	}
}

// once is one, for a process in which all may be as it should be already.
func (c *child) once(o engine.Options) *engine.Report {
	r := c.one(o)
	if r.Status == engine.Already {
		o.Revert, o.Replace = true, false
		c.is(engine.Changed, nil, c.one(o))
		o.Revert = false
		r = c.one(o)
	}
	return r
}

// TestTwoEnginesAtOnce has two engines apply, replace and revert live patches in one process at the
// same time. Each finds what the other one has just done, and none takes it for damage or for
// another tool's work.
func TestTwoEnginesAtOnce(t *testing.T) {
	preloads := flavours(t)
	preloads["native"] = ""
	for name, preload := range preloads {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", preload, "twoengines_"+name)
			var wg sync.WaitGroup
			for i, cs := range []*engine.Containers{read(t, container(t, "a", 10)),
				read(t, container(t, "a", 20))} {
				wg.Go(func() {
					for round := range 40 {
						o := engine.Options{Containers: cs, Engines: auto(), Selector: c.selector(),
							Revert: round%4 == 3, Replace: round%4 != 3 && (round+i)%2 == 0}
						_, err := engine.Run(t.Context(), o, func(r *engine.Report) {
							if r.Status == engine.Failed || r.Status == engine.Skipped {
								t.Errorf("round %d: %v, %v", round, r.Status,
									errors.Join(append(errorsOf(r), r.Err)...))
							}
						})
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			c.one(engine.Options{RevertAll: "libtarget.so", Engines: auto()})
			c.says(unpatched)
		})
	}
}

// errorsOf returns those of all results.
func errorsOf(r *engine.Report) []error {
	var errs []error
	for _, result := range r.Results {
		errs = append(errs, result.Err)
	}
	return errs
}

// TestDryRunMeanwhile has dry runs look at a process in which a live patch comes and goes. What
// they find half done they look at again.
func TestDryRunMeanwhile(t *testing.T) {
	c := start(t, "a", "", "drymeanwhile")
	o := engine.Options{Containers: read(t, container(t, "a", 10)), Engines: onlyNative,
		Selector: c.selector()}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n := range 200 {
			o.Revert = n%2 == 1
			if sum, err := engine.Run(t.Context(), o, nil); err != nil || sum.Changed != 1 {
				t.Errorf("run %d: %v, %+v", n, err, sum)
			}
		}
	}()
	dry := o
	dry.DryRun = true
	for n, over := 0, false; !over; n++ {
		if reports, sum, err := runAll(t, dry); err != nil || sum.Failed > 0 {
			t.Errorf("dry run %d: %v, %s", n, err, why(reports[c.pid]))
		}
		select {
		case <-ended:
			over = true
		default:
		}
	}
}
