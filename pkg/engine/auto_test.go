package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// auto are the engines in the order in which they are asked by default.
func auto() []engine.Engine { return []engine.Engine{&engine.Libpulp{}, &engine.Native{}} }

// TestAuto patches each process by its engine: by libpulp.so where it is, natively elsewhere.
func TestAuto(t *testing.T) {
	ten, twenty := read(t, container(t, "a", 10), container(t, "bb", 10)),
		read(t, container(t, "a", 20))
	preloads := flavours(t)
	preloads["native"] = ""
	for name, preload := range preloads {
		c := start(t, "a", preload, "auto_"+name)
		by := map[bool]string{true: "native", false: "libpulp"}[preload == ""]
		for _, dry := range []bool{true, false} {
			r := c.one(engine.Options{Containers: ten, Engines: auto(), DryRun: dry})
			c.is(engine.Changed, nil, r)
			if r.Engine != by {
				t.Errorf("%s: by %q", name, r.Engine)
			}
		}
		c.says(tens10)
		c.is(engine.Changed, nil, c.one(engine.Options{Containers: twenty, Engines: auto(),
			Replace: true}))
		c.says(tens20)
		c.is(engine.Already, engine.ErrApplied,
			c.one(engine.Options{Containers: twenty, Engines: auto(), Replace: true}))
		c.is(engine.Already, engine.ErrNotApplied,
			c.one(engine.Options{Containers: ten, Engines: auto(), Revert: true}))
		c.is(engine.Changed, nil, c.one(engine.Options{RevertAll: "libtarget.so", Engines: auto()}))
		c.says(unpatched)
		c.is(engine.Already, engine.ErrNoPatches,
			c.one(engine.Options{RevertAll: "libtarget.so", Engines: auto()}))
	}
}

// TestAutoUnconcerned wants processes without a target's library to cost nothing and to be counted
// nowhere, unless one is named; those with another build of it are skipped, as ever.
func TestAutoUnconcerned(t *testing.T) {
	bare := run(t, exec.Command(gcc(t, "program/unconcerned1", "program.c", "-pthread",
		plainLibrary(t), "-Wl,-rpath,"+filepath.Dir(plainLibrary(t)))))
	start(t, "bb", "", "unconcerned2")
	cs := read(t, container(t, "a", 10))
	name := engine.NewWildcard("unconcerned*")
	for _, o := range []engine.Options{{Containers: cs}, {Containers: cs, Revert: true},
		{RevertAll: "libtarget.so"}} {
		asked := &asked{Engine: &engine.Libpulp{}}
		o.Selector.Name, o.Engines = &name, []engine.Engine{asked, &engine.Native{}}
		reports, sum, err := runAll(t, o)
		if err != nil || reports[bare.pid] != nil || o.RevertAll == "" &&
			(sum.Skipped != 1 || sum.Foreign != 1) {
			t.Errorf("%+v: %+v, %v", o, sum, err)
		}
		if _, was := asked.pids.Load(bare.pid); was {
			t.Error("an engine was asked about a process that no container is for")
		}
	}
	bare.is(engine.Skipped, engine.ErrNotLoaded,
		bare.one(engine.Options{Containers: cs, Engines: auto()}))
}

// asked is an engine that remembers which processes it was asked about.
type asked struct {
	engine.Engine
	pids sync.Map
}

func (a *asked) Open(ctx context.Context, v *engine.View) (engine.Target, error) {
	a.pids.Store(v.Process.PID, true)
	return a.Engine.Open(ctx, v)
}

// plainLibrary is a library of another name, with the same functions.
func plainLibrary(t *testing.T) string {
	return gcc(t, "libother.so", "library.c", "-shared", "-fPIC", "-Wl,-soname,libother.so",
		"-Wl,--build-id")
}

// TestAutoBlocked: what the owner of a process or libpulp.so forbids is not circumvented by another
// engine.
func TestAutoBlocked(t *testing.T) {
	cs := read(t, container(t, "a", 10))
	for name, libpulp := range flavours(t) {
		c := start(t, "a", libpulp, "autoblocked_"+name)
		c.patchable(false, true)
		for _, engines := range [][]engine.Engine{auto(), onlyNative} {
			c.is(engine.Skipped, engine.ErrBlocked,
				c.one(engine.Options{Containers: cs, Engines: engines}))
			c.is(engine.Skipped, engine.ErrBlocked,
				c.one(engine.Options{Containers: cs, Engines: engines, DryRun: true}))
		}
		c.says(unpatched)
		c.unmapped()
	}
	for mode, libpulp := range map[string]string{
		"newer": standIn(t), "half 278": standIn(t), "small": gcc(t, "small/libpulp.so",
			"runtime.c", "-shared", "-fPIC", "-DSMALL", "-fvisibility=hidden"),
	} {
		c := start(t, "a", libpulp, "autounusable", "FAKEPULP="+mode)
		for range 2 {
			if r := c.one(
				engine.Options{Containers: cs, Engines: auto()}); r.Status != engine.Failed ||
				r.Err == nil && r.Engine != "libpulp" {
				t.Errorf("%s: %+v", mode, r)
			}
		}
		c.says(unpatched)
		c.unmapped()
	}
}

// ours is code of the native engine's in a list of mappings: a program has no other in anonymous
// memory.
var ours = regexp.MustCompile(`(?m)^.* r-xp 00000000 00:00 0 *$`)

// unmapped fails the test if the native engine has left anything in the process.
func (c *child) unmapped() {
	c.t.Helper()
	maps, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(c.pid), "maps"))
	if err != nil || strings.Contains(string(maps), "lpbuild:") || ours.Match(maps) {
		c.t.Errorf("%v:\n%s", err, maps)
	}
}

// TestOptOuts has variables in the environment that forbid live patches, for both engines.
func TestOptOuts(t *testing.T) {
	cs := read(t, container(t, "a", 10))
	preloads := flavours(t)
	preloads["native"] = ""
	uid, gid := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
	for name, preload := range preloads {
		for variable, blocked := range map[string]bool{
			"LIBPULP_DISABLE_ON_PATH=/nowhere:*/optout_*": true,
			"LIBPULP_DISABLE_ON_PATH=*/other":             false,
			"LIBPULP_DISABLE_ON_PATH=":                    false,
			"LIBPULP_DISABLE_ON_USERS=77777:" + uid:       true,
			"LIBPULP_DISABLE_ON_USERS=77777":              false,
			"LIBPULP_DISABLE_ON_GROUPS=" + gid + ":77777": true,
			"LIBPULP_DISABLE_ON_GROUPS=77777":             false,
		} {
			c := start(t, "a", preload, "optout_"+name, variable)
			if blocked {
				c.is(engine.Skipped, engine.ErrBlocked,
					c.one(engine.Options{Containers: cs, Engines: auto(), DryRun: true}))
				c.is(engine.Skipped, engine.ErrBlocked,
					c.one(engine.Options{Containers: cs, Engines: auto()}))
				c.is(engine.Skipped, engine.ErrBlocked,
					c.one(engine.Options{Containers: cs, Engines: onlyNative}))
				c.says(unpatched)
			} else {
				c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: auto()}))
				c.says(tens10)
			}
			if t.Failed() {
				t.Fatalf("%s with %s", name, variable)
			}
		}
	}
}

// TestForeign: what one engine has patched the other one refuses, naming it, before it stops the
// process; what is applied already by the other one is said to be.
func TestForeign(t *testing.T) {
	ten, twenty := read(t, container(t, "a", 10)), read(t, container(t, "a", 20))
	byAnotherName := read(t, pack(t, "a", "libtarget_uno.so", 20, "uno:one_lp"))
	pulp := []engine.Engine{&engine.Libpulp{}}
	for name, libpulp := range flavours(t) {
		for _, tc := range []struct {
			first, second []engine.Engine
			names         string
		}{{pulp, onlyNative, "libpulp"}, {onlyNative, pulp, "native"},
			{onlyNative, auto(), "native"}} {
			c := start(t, "a", libpulp, "foreign_"+name)
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: ten, Engines: tc.first}))
			for _, o := range []engine.Options{{}, {DryRun: true}, {Replace: true},
				{RevertAll: "target"}} {
				o.Containers, o.Engines = twenty, tc.second
				r := c.one(o)
				c.is(engine.Failed, engine.ErrForeign, r)
				e, ok := errors.AsType[*engine.ForeignError](r.Results[0].Err)
				if !ok || e.Engine != tc.names || e.Function != "one" ||
					e.Library != "libtarget.so" || r.Attempts != 0 {
					t.Errorf("%s, %+v: %+v", name, o, r)
				}
				o.Containers = ten
				c.is(engine.Already, engine.ErrApplied, c.one(o))
			}
			r := c.one(engine.Options{Containers: byAnotherName, Engines: tc.second})
			c.is(engine.Failed, engine.ErrForeign, r)
			if e, ok := errors.AsType[*engine.ForeignError](r.Results[0].Err); !ok ||
				e.Function != "uno" {
				t.Errorf("%s: %+v", name, r)
			}
			c.says(tens10)
		}
	}
}

// TestForeignDetour: a function that somebody else has led elsewhere stays so, and the verdict says
// what is wrong.
func TestForeignDetour(t *testing.T) {
	c := start(t, "a", "", "detour")
	one, two := c.symbol("one"), c.symbol("two")
	jump := binary.LittleEndian.AppendUint64([]byte{0xff, 0x25, 0, 0, 0, 0}, two)
	f, err := os.OpenFile(filepath.Join("/proc", strconv.Itoa(c.pid), "mem"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	_, err = f.WriteAt(append(jump, 0xeb, 0xf0), int64(one)-int64(len(jump)))
	must(t, err)
	c.says("2 2 3 107")
	for _, dry := range []bool{true, false} {
		r := c.one(engine.Options{Containers: read(t, container(t, "a", 10)), Engines: auto(),
			DryRun: dry})
		c.is(engine.Failed, engine.ErrForeign, r)
		if text := r.Results[0].Err.Error(); !strings.Contains(text, `"one"`) ||
			!strings.Contains(text, "another tool") || r.Attempts != 0 {
			t.Errorf("%s, %d attempts", text, r.Attempts)
		}
	}
	c.says("2 2 3 107")
	c.unmapped()
}

// symbol returns where a function of the library is.
func (c *child) symbol(name string) uint64 {
	c.t.Helper()
	p, err := process.Look(c.t.Context(), c.pid, process.Options{})
	must(c.t, err)
	m, err := p.Memory(c.t.Context())
	must(c.t, err)
	defer m.Close()
	libs, err := m.Libraries(c.t.Context())
	must(c.t, err)
	for _, l := range libs {
		if l.SONAME == "libtarget.so" {
			symbols, err := m.Symbols(c.t.Context(), l)
			must(c.t, err)
			s, err := symbols.Lookup(c.t.Context(), name, "")
			must(c.t, err)
			return s.Addr
		}
	}
	c.t.Fatal("no library")
	return 0
}

// TestForeignUnfinished: where an engine of libpulp's was killed before its last write the native
// one does nothing.
func TestForeignUnfinished(t *testing.T) {
	c := start(t, "a", standIn(t), "unfinished", "FAKEPULP=left")
	r := c.one(engine.Options{Containers: read(t, container(t, "a", 10)), Engines: onlyNative})
	c.is(engine.Failed, engine.ErrForeign, r)
	if e, ok := errors.AsType[*engine.ForeignError](r.Results[0].Err); !ok || !e.Unfinished {
		t.Errorf("%v", r.Results[0].Err)
	}
	c.says(unpatched)
	c.unmapped()
}

// TestForeignElsewhere has two engines at work on different functions of one library, which is
// possible; but not to replace all live patches of the library.
func TestForeignElsewhere(t *testing.T) {
	one, two := read(t, pack(t, "a", "libtarget_one.so", 10, "one:one_lp")),
		read(t, pack(t, "a", "libtarget_two.so", 20, "two:two_lp"))
	pulp := []engine.Engine{&engine.Libpulp{}}
	for name, libpulp := range flavours(t) {
		for _, tc := range [][2][]engine.Engine{{pulp, onlyNative}, {onlyNative, auto()}} {
			c := start(t, "a", libpulp, "elsewhere_"+name)
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: one, Engines: tc[0]}))
			c.is(engine.Failed, engine.ErrForeign,
				c.one(engine.Options{Containers: two, Engines: tc[1], Replace: true}))
			c.says("10 2 3 107")
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: two, Engines: tc[1]}))
			c.says("10 40 3 107")
			c.bothListed()
			c.is(engine.Changed, nil,
				c.one(engine.Options{RevertAll: "libtarget.so", Engines: auto(), DryRun: true}))
			c.says("10 40 3 107")
			r := c.one(engine.Options{RevertAll: "libtarget.so", Engines: auto()})
			c.is(engine.Changed, nil, r)
			if len(r.Results) != 2 || r.Attempts < 2 {
				t.Errorf("%+v", r)
			}
			c.says(unpatched)
			c.unmapped()
		}
	}
}

// bothListed fails the test unless the survey has a live patch of each engine.
func (c *child) bothListed() {
	c.t.Helper()
	list, _, err := engine.Look(c.t.Context(), engine.SurveyOptions{Selector: c.selector(),
		Engines: auto()})
	must(c.t, err)
	engines := map[string]string{}
	for _, l := range list[0].Libraries {
		for _, a := range l.Applied {
			engines[a.Engine] = l.Name
		}
	}
	if len(engines) != 2 || engines["native"] != "libtarget.so" ||
		engines["libpulp"] != "libtarget.so" || list[0].Engine != "libpulp" {
		c.t.Errorf("%v", engines)
	}
}

// TestRevertByHolder reverts what was applied by an engine that the process would not get today.
func TestRevertByHolder(t *testing.T) {
	ten := read(t, container(t, "a", 10))
	c := start(t, "a", standIn(t), "holder")
	for _, o := range []engine.Options{{Containers: ten, Revert: true},
		{RevertAll: "libtarget.so"}} {
		c.is(engine.Changed, nil, c.one(engine.Options{Containers: ten, Engines: onlyNative}))
		c.says(tens10)
		o.Engines = auto()
		r := c.one(o)
		c.is(engine.Changed, nil, r)
		if r.Engine != "native" || len(r.Results) != 1 {
			t.Errorf("%+v", r)
		}
		c.says(unpatched)
		c.unmapped()
	}
}

// TestReplaceKeepsOne: a live patch that is applied already and is to replace all others stays, and
// the others go, by either engine.
func TestReplaceKeepsOne(t *testing.T) {
	for name, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "a", preload, "keepsone"+name)
			one := read(t, pack(t, "a", "libtarget_keepsone"+name+"1.so", 10, "one:one_lp"))
			two := read(t, pack(t, "a", "libtarget_keepsone"+name+"2.so", 20, "two:two_lp"))
			for _, cs := range []*engine.Containers{one, two} {
				c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: auto()}))
			}
			c.says("10 40 3 107")
			if r := c.one(engine.Options{Containers: one, Engines: auto(),
				Replace: true}); r.Status != engine.Changed {
				t.Errorf("%v: %v", r.Status, r.Err)
			}
			c.says("10 2 3 107")
			c.is(engine.Already, engine.ErrApplied,
				c.one(engine.Options{Containers: one, Engines: auto(), Replace: true}))
		})
	}
}

// TestReplaceNothing: where nothing is applied that could be taken out first, nothing is said of
// it.
func TestReplaceNothing(t *testing.T) {
	ten, twenty := read(t, container(t, "a", 10)), read(t, container(t, "a", 20))
	for name, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
		for _, o := range []engine.Options{{Replace: true}, {RevertAll: "target"}} {
			c := start(t, "a", preload, "replacenothing_"+name)
			o.Engines = auto()
			for _, step := range []struct {
				dry     bool
				cs      *engine.Containers
				results int
			}{{true, ten, 1}, {false, ten, 1}, {true, twenty, 2}, {false, twenty, 2}} {
				o.Containers, o.DryRun = step.cs, step.dry
				r := c.one(o)
				c.is(engine.Changed, nil, r)
				if len(r.Results) != step.results ||
					r.Results[0].Kind == engine.RevertAll != (step.results == 2) {
					t.Errorf("%s, %+v: %+v", name, step, r.Results)
				}
			}
			c.says(tens20)
		}
	}
}
