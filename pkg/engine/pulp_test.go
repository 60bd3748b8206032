package engine_test

import (
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestApply goes through the life of a process: dry run, apply, again, replace, revert.
func TestApply(t *testing.T) {
	for name, libpulp := range flavours(t) {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", libpulp, "target_"+name)
			first, second := read(t, container(t, "a", 10), container(t, "bb", 10)),
				read(t, container(t, "a", 20))
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: first, DryRun: true}))
			c.says(unpatched)
			r := c.one(engine.Options{Containers: first})
			c.is(engine.Changed, nil, r)
			c.says(tens10)
			if r.Engine != "libpulp" || r.Attempts == 0 || r.Stop <= 0 || len(r.Results) != 1 ||
				r.Name != c.name() {
				t.Errorf("%+v", r)
			}
			r = c.one(engine.Options{Containers: first})
			c.is(engine.Already, engine.ErrApplied, r)
			if r.Attempts != 0 {
				t.Error("stopped for nothing")
			}
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: second, Replace: true}))
			c.says(tens20)
			c.applied("libtarget_a_livepatch20.so")
			r = c.one(engine.Options{Containers: second, Replace: true})
			c.is(engine.Already, engine.ErrApplied, r)
			c.is(engine.Already, engine.ErrNotApplied,
				c.one(engine.Options{Containers: first, Revert: true}))
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: second, Revert: true}))
			c.says(unpatched)
			c.is(engine.Already, engine.ErrNoPatches,
				c.one(engine.Options{RevertAll: "libtarget.so"}))
			c.is(engine.Skipped, engine.ErrNotLoaded,
				c.one(engine.Options{RevertAll: "libother.so"}))
		})
	}
}

// TestSeveral applies two live patches of one library under one stop, in order, and takes all out
// again.
func TestSeveral(t *testing.T) {
	for name, libpulp := range flavours(t) {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", libpulp, "several_"+name)
			both := read(t, container(t, "a", 10), container(t, "a", 20))
			r := c.one(engine.Options{Containers: both})
			c.is(engine.Changed, nil, r)
			if r.Attempts != 1 && name == "standin" {
				t.Errorf("%d stops", r.Attempts)
			}
			c.says(tens20)
			c.applied("libtarget_a_livepatch20.so", "libtarget_a_livepatch10.so")
			c.is(engine.Changed, nil,
				c.one(engine.Options{Containers: read(t, container(t, "a", 10)),
					RevertAll: "target"}))
			c.says(tens10)
			c.is(engine.Changed, engine.ErrApplied,
				c.one(engine.Options{Containers: both, RevertAll: "target"}))
			c.says(tens20)
			c.applied("libtarget_a_livepatch20.so", "libtarget_a_livepatch10.so")
			c.is(engine.Changed, nil, c.one(engine.Options{RevertAll: "libtarget.so"}))
			c.says(unpatched)
			c.applied()
		})
	}
}

// TestRevertAllKeeps wants what is applied to stay if nothing comes in its place.
func TestRevertAllKeeps(t *testing.T) {
	c := start(t, "a", standIn(t), "keeps")
	c.is(engine.Changed, nil, c.one(engine.Options{Containers: read(t, container(t, "a", 10))}))
	impossible := pack(t, "a", "libtarget_impossible.so", 20, "one:one_lp", "bare:bare_lp")
	for what, cs := range map[string]*engine.Containers{
		"another build":                      read(t, container(t, "bb", 20)),
		"a function that cannot be replaced": read(t, impossible),
		"no live patch":                      unusable(t),
	} {
		for _, all := range []string{"target", "libtarget.so"} {
			c.one(engine.Options{Containers: cs, RevertAll: all, BadFiles: true})
			c.says(tens10)
			c.applied("libtarget_a_livepatch10.so")
			if t.Failed() {
				t.Fatal(what)
			}
		}
	}
	r := c.one(engine.Options{Containers: read(t, impossible), RevertAll: "target"})
	if r.Status != engine.Failed {
		t.Errorf("%v", r.Results)
	}
}

func unusable(t testing.TB) *engine.Containers {
	cs, err := engine.ReadContainers(t.Context(), []string{"/nowhere.so"}, false)
	must(t, err)
	return cs
}

// TestSkipped goes through the reasons why a process is left alone.
func TestSkipped(t *testing.T) {
	cs := read(t, container(t, "a", 10))
	c := start(t, "bb", standIn(t), "otherbuild")
	r := c.one(engine.Options{Containers: cs})
	c.is(engine.Skipped, engine.ErrBuildID, r)
	r = c.one(engine.Options{Containers: cs, Every: true})
	build, ok := errors.AsType[*engine.BuildError](r.Results[0].Err)
	if !ok || build.Library != "libtarget.so" || build.Has[19] != 2 || build.Want[19] != 1 {
		t.Errorf("%v", r.Results)
	}
	c.says(unpatched)
	c = start(t, "a", "", "noengine")
	c.is(engine.Skipped, engine.ErrNoEngine, c.one(engine.Options{Containers: cs}))
	c.says(unpatched)
}

// TestBlocked switches a process off and on again.
func TestBlocked(t *testing.T) {
	for name, libpulp := range flavours(t) {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", libpulp, "blocked_"+name)
			cs := read(t, container(t, "a", 10))
			c.patchable(false, true)
			c.patchable(false, false)
			c.is(engine.Skipped, engine.ErrBlocked, c.one(engine.Options{Containers: cs}))
			c.is(engine.Skipped, engine.ErrBlocked,
				c.one(engine.Options{Containers: cs, DryRun: true}))
			if s := c.survey(); !errors.Is(s.Disabled, engine.ErrBlocked) {
				t.Errorf("%v", s.Disabled)
			}
			c.says(unpatched)
			c.patchable(true, true)
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs}))
			c.says(tens10)
		})
	}
}

// patchable switches the process on or off, and wants that to be a change or none.
func (c *child) patchable(on, changed bool) {
	c.t.Helper()
	calls := 0
	err := (&engine.Libpulp{}).SetPatchable(c.t.Context(), engine.Options{Selector: c.selector()},
		on, func(s *engine.Switched) {
			if calls++; s.PID != c.pid || s.Changed != changed || s.Err != nil {
				c.t.Errorf("%+v", s)
			}
		})
	if err != nil || calls != 1 {
		c.t.Errorf("%v, %d calls", err, calls)
	}
}

// is fails the test if a report is not of the status and, with err set, its errors.
func (c *child) is(status engine.Status, err error, r *engine.Report) {
	c.t.Helper()
	got := r.Err
	for _, result := range r.Results {
		got = errors.Join(got, result.Err)
	}
	if r.Status != status || err != nil && !errors.Is(got, err) || err == nil && got != nil {
		c.t.Errorf("status %v, %v; want %v, %v", r.Status, got, status, err)
	}
}

func (c *child) name() string {
	s := c.survey()
	return s.Name
}

// survey surveys the process.
func (c *child) survey() *engine.Survey {
	c.t.Helper()
	list, _, err := engine.Look(c.t.Context(), engine.SurveyOptions{Selector: c.selector(),
		Engines: []engine.Engine{&engine.Libpulp{}}})
	must(c.t, err)
	if len(list) != 1 {
		c.t.Fatalf("%d processes", len(list))
	}
	return list[0]
}

// applied fails the test if other live patches are applied, the newest first.
func (c *child) applied(want ...string) {
	c.t.Helper()
	var got []string
	for _, l := range c.survey().Libraries {
		for _, a := range l.Applied {
			got = append(got, baseName(a.Container))
		}
	}
	if len(got) != len(want) {
		c.t.Fatalf("applied %q, want %q", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			c.t.Fatalf("applied %q, want %q", got, want)
		}
	}
}
