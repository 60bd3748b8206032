package engine_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

var onlyNative = []engine.Engine{&engine.Native{}}

// nativeErr runs for one process and returns what became of the container that was given.
func nativeErr(t *testing.T, c *child, o engine.Options, entries ...symtab.Entries) error {
	t.Helper()
	o.Engines = onlyNative
	for _, e := range entries {
		o.Engines = []engine.Engine{&engine.Native{Entries: e}}
	}
	r := c.one(o)
	if r.Err != nil {
		return r.Err
	}
	for _, res := range r.Results {
		if res.Err != nil {
			return res.Err
		}
	}
	return nil
}

// TestNative applies, replaces and reverts in a process without libpulp.so.
func TestNative(t *testing.T) {
	c := start(t, "a", "", "native")
	ten, twenty := read(t, container(t, "a", 10)), read(t, container(t, "a", 20))
	if err := nativeErr(t, c, engine.Options{Containers: ten, DryRun: true}); err != nil {
		t.Errorf("dry run: %v", err)
	}
	c.says(unpatched)
	if err := nativeErr(t, c, engine.Options{Containers: ten}); err != nil {
		t.Errorf("apply: %v", err)
	}
	c.says(tens10)
	if err := nativeErr(t, c, engine.Options{Containers: ten}); !errors.Is(err, engine.ErrApplied) {
		t.Errorf("apply again: %v", err)
	}
	if err := nativeErr(t, c, engine.Options{Containers: twenty, RevertAll: "target"}); err != nil {
		t.Errorf("replace: %v", err)
	}
	c.says(tens20)
	list, _, err := engine.Look(t.Context(), engine.SurveyOptions{Selector: c.selector(),
		Engines: onlyNative})
	found := 0
	for _, s := range list {
		for _, l := range s.Libraries {
			for _, a := range l.Applied {
				if found++; len(a.Labels) == 0 {
					t.Errorf("survey: %+v", a)
				}
			}
		}
	}
	if err != nil || found != 1 {
		t.Errorf("survey: %d applied, %v", found, err)
	}
	if err := nativeErr(t, c, engine.Options{Containers: ten, Revert: true}); !errors.Is(err,
		engine.ErrNotApplied) {
		t.Errorf("revert what is not there: %v", err)
	}
	if err := nativeErr(t, c, engine.Options{Containers: twenty, Revert: true}); err != nil {
		t.Errorf("revert: %v", err)
	}
	c.says(unpatched)
	if err := nativeErr(t, c, engine.Options{Containers: read(t, container(t, "bb", 10)),
		Every: true}); !errors.Is(err, engine.ErrBuildID) {
		t.Errorf("another build: %v", err)
	}
}

// TestNativeEntries: whether a function without NOPs is patched is for each container to say,
// unless somebody else does.
func TestNativeEntries(t *testing.T) {
	const tens10 = "10 2 30 107"
	any := packAs(t, "a", "libtarget_any.so", 10, ulp.PackOptions{Entries: symtab.EntriesAny},
		"one:one_lp", "bare:bare_lp")
	mute := pack(t, "a", "libtarget_mute.so", 10, "one:one_lp", "bare:bare_lp")
	c := start(t, "a", "", "entries")
	if err := nativeErr(t, c, engine.Options{Containers: read(t, mute)}); !errors.Is(err,
		native.ErrEntry) {
		t.Errorf("a container that says nothing: %v", err)
	}
	if err := nativeErr(t, c, engine.Options{Containers: read(t, any)},
		symtab.EntriesNOPs); !errors.Is(err, native.ErrEntry) {
		t.Errorf("somebody says nops: %v", err)
	}
	c.says(unpatched)
	if err := nativeErr(t, c, engine.Options{Containers: read(t, mute)},
		symtab.EntriesAny); err != nil {
		t.Errorf("somebody says any: %v", err)
	}
	c.says(tens10)
	if err := nativeErr(t, c, engine.Options{RevertAll: "libtarget.so"}); err != nil {
		t.Errorf("revert: %v", err)
	}
	c.says(unpatched)
	// Two containers of one run, each as it says.
	plain := pack(t, "a", "libtarget_plain.so", 10, "two:two_lp")
	if err := nativeErr(t, c, engine.Options{Containers: read(t, any, plain)}); err != nil {
		t.Errorf("both: %v", err)
	}
	c.says("10 20 30 107")
}

// TestEntriesAreNothingToLibpulp: a container that says "any" is for libpulp what it would be
// without that, if its functions have NOPs.
func TestEntriesAreNothingToLibpulp(t *testing.T) {
	any := packAs(t, "a", "libtarget_any_nops.so", 10, ulp.PackOptions{Entries: symtab.EntriesAny},
		"one:one_lp", "two:two_lp")
	for name, preload := range flavours(t) {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", preload, "nothing")
			if r := c.one(engine.Options{Containers: read(t, any)}); r.Err != nil ||
				len(r.Results) != 1 || r.Results[0].Err != nil {
				t.Fatalf("%+v", r)
			}
			c.says(tens10)
			if r := c.one(engine.Options{Containers: read(t, any), Revert: true}); r.Err != nil ||
				len(r.Results) != 1 || r.Results[0].Err != nil {
				t.Fatalf("%+v", r)
			}
			c.says(unpatched)
		})
	}
}

// TestStartedByLoader: a process that was started as "ld.so ./program" has the program's name, is
// found by it, and is patched like any other.
func TestStartedByLoader(t *testing.T) {
	program := start(t, "a", "", "by-the-loader").Cmd.Path
	loader := targettest.Loader(t, program)
	ten := read(t, container(t, "a", 10))
	for name, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(loader, "--library-path", filepath.Dir(library(t, "a")), program)
			if preload != "" {
				cmd.Env = append(os.Environ(), "LD_PRELOAD="+preload)
			}
			c := run(t, cmd)
			c.says(unpatched)
			engines := onlyNative
			if preload != "" {
				engines = []engine.Engine{&engine.Libpulp{}}
			}
			s, err := engine.ParseSelector("by-the-loader", "")
			must(t, err)
			list, _, err := engine.Look(t.Context(),
				engine.SurveyOptions{Selector: s, Engines: engines})
			must(t, err)
			i := slices.IndexFunc(list, func(s *engine.Survey) bool { return s.PID == c.pid })
			if i < 0 || list[i].Name != "by-the-loader" || list[i].Exe != program ||
				list[i].Err != nil {
				t.Errorf("survey: %+v", list)
			}
			reports, _, err := runAll(t, engine.Options{Selector: s, Containers: ten,
				Engines: engines})
			must(t, err)
			if r := reports[c.pid]; r == nil || r.Name != "by-the-loader" ||
				r.Status != engine.Changed {
				t.Fatalf("report: %+v", r)
			}
			c.says(tens10)
			if r := c.one(engine.Options{Containers: ten, Engines: engines,
				Revert: true}); r.Status != engine.Changed {
				t.Errorf("revert: %+v", r)
			}
			c.says(unpatched)
		})
	}
	for _, path := range []string{program, loader} {
		// libpulp.so, which asks itself, knows the second one
		cmd := exec.Command(loader, "--library-path", filepath.Dir(library(t, "a")), program)
		cmd.Env = append(os.Environ(), "LIBPULP_DISABLE_ON_PATH="+path)
		if err := nativeErr(t, run(t, cmd), engine.Options{Containers: ten}); !errors.Is(err,
			engine.ErrBlocked) {
			t.Errorf("opted out by %s: %v", path, err)
		}
	}
}
