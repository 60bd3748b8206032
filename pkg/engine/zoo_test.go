package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// stock is a build of the library without NOPs, and a live patch for it that says "entries: any".
func stock(t *testing.T) (lib, patch string) {
	lib = gcc(t, "stock/libtarget.so", "library.c", "-DSTOCK", "-shared", "-fPIC", "-O0",
		"-Wl,-soname,libtarget.so", "-fcf-protection=none",
		"-Wl,--build-id=0x57040c57040c57040c57040c57040c57040c5704")
	plain := gcc(t, "plain10.so", "container.c", "-shared", "-fPIC", "-Wl,--build-id", "-DTENS=10")
	patch, err := builds.Once("pack stock", func() (string, error) {
		path := filepath.Join(builds.Dir, "libtarget_stock.so")
		return path, packOnce(plain, path, lib,
			ulp.PackOptions{Force: true, Entries: symtab.EntriesAny}, []string{"one:one_lp"})
	})
	must(t, err)
	return lib, patch
}

// kept has a live patch that was reverted while a thread was in it.
func kept(t *testing.T, name string) *child {
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	c := start(t, "a", "", name, "FIFO="+fifo)
	o := engine.Options{Containers: read(t, pack(t, "a", "libtarget_blocks.so", 10, "one:one_lp",
		"blocks:blocks_lp")), Engines: onlyNative}
	c.is(engine.Changed, nil, c.one(o))
	t.Cleanup(c.enter(fifo))
	o.Revert = true
	c.is(engine.Changed, nil, c.one(o))
	return c
}

// zoo are processes of all kinds that have the library, or another one.
func zoo(t *testing.T) map[string]*child {
	lib, _ := stock(t)
	preload := gcc(t, "constructor.so", "../../testdata/constructor.c", "-shared", "-fPIC")
	with := func(lib, name string, env ...string) *child {
		cmd := exec.Command(gcc(t, "program/"+name, "program.c", "-pthread", library(t, "a")))
		cmd.Env = append(append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(lib)), env...)
		return run(t, cmd)
	}
	gone := filepath.Join(t.TempDir(), "libtarget.so")
	data, err := os.ReadFile(library(t, "a"))
	must(t, err)
	must(t, os.WriteFile(gone, data, 0o755))
	animals := map[string]*child{
		"nops": start(t, "a", "", "zoo_nops"), "libpulp": start(t, "a", standIn(t), "zoo_libpulp"),
		"stock": with(lib, "zoo_stock"), "libpulp, no NOPs": with(lib, "zoo_nonops", "LD_PRELOAD="+
			standIn(t)), "other build": start(t, "bb", "", "zoo_other"),
		"static": run(t, exec.Command(gcc(t, "zoo_static", "program.c", "-static", "-pthread",
			sources+"library.c"))),
		"opted out":  start(t, "a", "", "zoo_out", "LIBPULP_DISABLE_ON_PATH=*"),
		"allowing":   start(t, "a", preload, "zoo_allow", "ZOO=allow"),
		"denying":    start(t, "a", preload, "zoo_deny", "ZOO=deny"),
		"leftover":   start(t, "a", preload, "zoo_left", "ZOO=left"),
		"vforked":    vforkParent(t, "zoo_vfork", ""),
		"deleted":    with(gone, "zoo_deleted"),
		"kept":       kept(t, "zoo_kept"),
		"patched":    start(t, "a", "", "zoo_patched"),
		"traced":     start(t, "a", "", "zoo_traced"),
		"of 32 bits": bits32(t),
	}
	must(t, os.Remove(gone))
	animals["patched"].one(engine.Options{Containers: read(t, container(t, "a", 10)),
		Engines: auto()})
	job := exec.Command(os.Args[0])
	job.Env = append(os.Environ(), "ENGINE_TEST_JOB=tracer", "ENGINE_TEST_PIDS="+
		strconv.Itoa(animals["traced"].pid))
	run(t, job)
	for i, f := range targettest.Freezers(t) {
		c := start(t, "a", "", "zoo_frozen")
		f.Add(c.pid)
		f.Freeze()
		f.Frozen()
		animals[fmt.Sprintf("frozen %d", i)] = c
	}
	return animals
}

// bits32 is a program of 32 bits, nil if gcc makes none here.
func bits32(t *testing.T) *child {
	source := "../../testdata/bits32.c"
	program, err := builds.TryGCC("zoo_32", "-m32", "-nostdlib", "-static", sources+source)
	if err != nil {
		t.Logf("left out: programs of 32 bits: %v", err)
		return nil
	}
	lib := gcc(t, "bits32/libtarget.so", source, "-DLIBRARY", "-m32", "-nostdlib", "-shared",
		"-fPIC", "-Wl,-soname,libtarget.so")
	return run(t, exec.Command(program, lib))
}

// TestOneDecision: what a dry run predicts, what status counts and what a run does agree, for
// processes of all kinds.
func TestOneDecision(t *testing.T) {
	_, patch := stock(t)
	cs := read(t, container(t, "a", 10), patch)
	for name, c := range zoo(t) {
		if c == nil {
			continue
		}
		o := engine.Options{Containers: cs, Engines: auto(), DryRun: true, Timeout: 2 * time.Second}
		dry := c.one(o)
		list, _, err := engine.Look(t.Context(), engine.SurveyOptions{Selector: c.selector(),
			Engines: auto(), Stock: true})
		if err != nil || len(list) != 1 {
			t.Fatalf("%s: %v, %v", name, list, err)
		}
		s := list[0]
		o.DryRun = false
		did := c.one(o)
		said := fmt.Sprintf("%s: a dry run says %v (%v), status %v (%v, %v), a run %v (%v)", name,
			dry.Status, errorsOf(dry), s.Takes(), s.Disabled, s.Unsure, did.Status,
			append(errorsOf(did), did.Err))
		t.Log(said)
		if unread := strings.HasSuffix(name, "ing") && !engine.MaySuspendSeccomp(); unread {
			// filters that this process cannot read
			if dry.Status != engine.Failed || did.Status != engine.Failed || s.Unsure == nil ||
				s.Takes() {
				t.Error(said)
			}
			continue
		}
		switch {
		case dry.Status == engine.Unsure:
			if s.Unsure == nil || s.Takes() || !strings.HasSuffix(name, "ing") {
				t.Error(said)
			}
		case dry.Status != did.Status, s.Unsure != nil:
			t.Error(said)
		case name == "other build": // which status cannot know
		case s.Takes() != (did.Status == engine.Changed || did.Status == engine.Already):
			t.Error(said)
		}
		if want := map[bool]int{true: 3}[name == "leftover"]; s.Left.Mappings != want {
			t.Errorf("%s: %d mappings are left, want %d", name, s.Left.Mappings, want)
		}
		if wants := map[string]engine.Status{"nops": engine.Changed, "stock": engine.Changed,
			"allowing": engine.Changed, "denying": engine.Skipped, "traced": engine.Failed,
			"static": engine.Skipped, "patched": engine.Already, "leftover": engine.Changed,
			"kept": engine.Changed, "deleted": engine.Changed,
			"opted out": engine.Skipped}; name != "" {
			if want, ok := wants[name]; ok && did.Status != want {
				t.Errorf("%s, want %v", said, want)
			}
		}
	}
}

// TestLeftovers: what a killed engine left, and a live patch that was reverted while a thread was
// in it, are given back when that is asked for, and by a revert that finds nothing to revert. What
// a thread still needs stays.
func TestLeftovers(t *testing.T) {
	preload := gcc(t, "constructor.so", "../../testdata/constructor.c", "-shared", "-fPIC")
	for name, o := range map[string]engine.Options{"leftovers": {Leftovers: true},
		"revert all": {RevertAll: "libtarget.so"}} {
		c := start(t, "a", preload, "left_"+strings.Fields(name)[0], "ZOO=left")
		o.Engines, o.DryRun = auto(), true
		c.one(o)
		if !strings.Contains(c.allMaps(), "lpbuild:left") {
			t.Errorf("%s: a dry run cleans up", name)
		}
		o.DryRun = false
		r := c.one(o)
		if want := map[bool]engine.Status{true: engine.Changed,
			false: engine.Already}[o.Leftovers]; r.Status != want {
			t.Errorf("%s: %v, %v", name, r.Status, errorsOf(r))
		}
		if strings.Contains(c.allMaps(), "lpbuild:") {
			t.Errorf("%s: it is still there:\n%s", name, c.allMaps())
		}
		if o.Leftovers {
			c.is(engine.Already, engine.ErrNothingLeft, c.one(o))
		}
		c.says(unpatched)
	}
	c := kept(t, "left_kept")
	c.is(engine.Skipped, engine.ErrKept, c.one(engine.Options{Leftovers: true, Engines: auto()}))
	name := engine.NewWildcard("left_*")
	reports, sum, err := runAll(t, engine.Options{Leftovers: true, Engines: auto(),
		Selector: engine.Selector{Name: &name}})
	if err != nil || len(reports) != 1 || sum.Skipped != 1 { // the others have nothing
		t.Errorf("%v, %+v, %v", reports, sum, err)
	}
}
