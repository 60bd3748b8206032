package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// careful are the engines, which wait until no thread is in a function that is replaced.
func careful() []engine.Engine {
	return []engine.Engine{&engine.Libpulp{Consistency: engine.ConsistencyFunctions},
		&engine.Native{Consistency: engine.ConsistencyFunctions}}
}

// TestConsistency has a thread inside a function that is to be replaced, and inside a replacement
// that is to go: nothing happens until it has left, and nothing at all if it stays until the time
// is over.
func TestConsistency(t *testing.T) {
	preloads := flavours(t)
	preloads["native"] = ""
	lines := []string{"one:one_lp", "blocks:blocks_lp"}
	both := read(t, pack(t, "a", "libtarget_blocks.so", 10, lines...))
	other := read(t, pack(t, "a", "libtarget_blocks2.so", 20, lines...))
	for name, preload := range preloads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fifo := filepath.Join(t.TempDir(), "fifo")
			must(t, unix.Mkfifo(fifo, 0o600))
			c := start(t, "a", preload, "careful_"+name, "FIFO="+fifo)
			for _, step := range []struct {
				o     engine.Options
				after string
				where string
			}{
				{engine.Options{Containers: both}, "10 2 3 107", `is in "blocks"`},
				{engine.Options{Containers: other, Replace: true}, "20 2 3 107", `is in "`},
				{engine.Options{RevertAll: "libtarget.so"}, unpatched, `is in "`},
			} {
				before := c.values()
				leave := c.enter(fifo)
				maps := c.maps()
				step.o.Engines, step.o.Timeout = careful(), 2*time.Second
				r := c.one(step.o)
				c.is(engine.Failed, engine.ErrInUse, r)
				if len(r.Results) == 0 {
					t.Fatalf("%+v", r)
				}
				if text := r.Results[0].Err.Error(); !strings.Contains(text, step.where) ||
					!strings.Contains(text, "thread ") || r.Attempts == 0 {
					t.Errorf("%d attempts: %s", r.Attempts, text)
				}
				if now := c.maps(); now != maps {
					t.Errorf("it was touched:\n%s\n%s", maps, now)
				}
				c.says(before)
				step.o.Timeout = time.Minute
				step.o.Engines = c.leavesAfter(leave)
				c.is(engine.Changed, nil, c.one(step.o))
				c.says(step.after)
			}
		})
	}
}

// TestConsistencyOfFormerCode has a thread in code that a function had before: in a live patch that
// was reverted, and in the original below a live patch. The next change by either engine
// waits for it.
func TestConsistencyOfFormerCode(t *testing.T) {
	preloads := flavours(t)
	preloads["native"] = ""
	lines := []string{"one:one_lp", "blocks:blocks_lp"}
	other := read(t, pack(t, "a", "libtarget_blocks2.so", 20, lines...))
	for name, preload := range preloads {
		path := pack(t, "a", "libtarget_former_"+name+".so", 10, lines...)
		first := read(t, path)
		for _, how := range []string{"reverted", "original"} {
			t.Run(name+" "+how, func(t *testing.T) {
				fifo := filepath.Join(t.TempDir(), "fifo")
				must(t, unix.Mkfifo(fifo, 0o600))
				c := start(t, "a", preload, "former_"+name, "FIFO="+fifo)
				careless := engine.Options{Containers: first, Engines: auto()}
				var leave func()
				if how == "reverted" {
					c.is(engine.Changed, nil, c.one(careless))
					leave = c.enter(fifo)
					careless.Revert = true
					c.is(engine.Changed, nil, c.one(careless))
				} else {
					leave = c.enter(fifo)
					c.is(engine.Changed, nil, c.one(careless))
				}
				before := c.values()
				o := engine.Options{Containers: other, Engines: careful(), Timeout: 2 * time.Second}
				r := c.one(o)
				c.is(engine.Failed, engine.ErrInUse, r)
				c.says(before)
				o.Timeout, o.Engines = time.Minute, c.leavesAfter(leave)
				c.is(engine.Changed, nil, c.one(o))
				c.says("20 2 3 107")
			})
		}
	}
}

// TestConsistencyAcrossEngines has a thread in a live patch that one engine has applied and
// reverted. The other one does not know where the threads are in that, says so, and does nothing.
func TestConsistencyAcrossEngines(t *testing.T) {
	lines := []string{"one:one_lp", "blocks:blocks_lp"}
	other := read(t, pack(t, "a", "libtarget_blocks2.so", 20, lines...))
	for name, preload := range flavours(t) {
		for _, first := range []string{"libpulp", "native"} {
			t.Run(name+" after "+first, func(t *testing.T) {
				engines := map[string]engine.Engine{
					"libpulp": &engine.Libpulp{Consistency: engine.ConsistencyFunctions},
					"native":  &engine.Native{Consistency: engine.ConsistencyFunctions}}
				careless := map[string]engine.Engine{"libpulp": &engine.Libpulp{},
					"native": &engine.Native{}}
				second := map[string]string{"libpulp": "native", "native": "libpulp"}[first]
				fifo := filepath.Join(t.TempDir(), "fifo")
				must(t, unix.Mkfifo(fifo, 0o600))
				c := start(t, "a", preload, "across_"+name+first, "FIFO="+fifo)
				o := engine.Options{
					Containers: read(t, pack(t, "a", "libtarget_across_"+name+first+".so", 10,
						lines...)),
					Engines: []engine.Engine{careless[first]}}
				c.is(engine.Changed, nil, c.one(o))
				leave := c.enter(fifo)
				o.Revert = true
				c.is(engine.Changed, nil, c.one(o))
				before, maps := c.values(), c.maps()
				r := c.one(engine.Options{Containers: other,
					Engines: []engine.Engine{engines[second]}, Timeout: time.Second})
				c.is(engine.Failed, engine.ErrForeign, r)
				if text := fmt.Sprint(r.Results[0].Err); !strings.Contains(text,
					"still in memory") {
					t.Errorf("%s", text)
				}
				if now := c.maps(); now != maps {
					t.Errorf("it was touched:\n%s\n%s", maps, now)
				}
				c.says(before)
				leave()
				c.is(engine.Changed, nil,
					c.one(engine.Options{Containers: other,
						Engines: []engine.Engine{engines[first]}}))
			})
		}
	}
}

// TestConsistencyOfDeletedContainer: that the file of a reverted live patch is gone, as after an
// update of its package, does not make its code in the process unknown.
func TestConsistencyOfDeletedContainer(t *testing.T) {
	targettest.NeedMappedFiles(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	lines := []string{"one:one_lp", "blocks:blocks_lp"}
	path := pack(t, "a", "libtarget_deleted.so", 10, lines...)
	c := start(t, "a", standIn(t), "former_deleted", "FIFO="+fifo)
	first := engine.Options{Containers: read(t, path), Engines: auto()}
	c.is(engine.Changed, nil, c.one(first))
	leave := c.enter(fifo)
	first.Revert = true
	c.is(engine.Changed, nil, c.one(first))
	must(t, os.Remove(path))
	o := engine.Options{Containers: read(t, pack(t, "a", "libtarget_blocks2.so", 20, lines...)),
		Engines: careful(), Timeout: 2 * time.Second}
	c.is(engine.Failed, engine.ErrInUse, c.one(o))
	two := engine.Options{Containers: read(t, pack(t, "a", "libtarget_two.so", 20, "two:two_lp")),
		Engines: careful()}
	c.is(engine.Changed, nil, c.one(two)) // which has nothing to do with it
	o.Timeout, o.Engines = time.Minute, c.leavesAfter(leave)
	c.is(engine.Changed, nil, c.one(o))
}

// TestConsistencyOfPointers: pointers to functions on a stack and in a register are no calls.
func TestConsistencyOfPointers(t *testing.T) {
	preloads := flavours(t)
	preloads["native"] = ""
	cs := read(t, pack(t, "a", "libtarget_blocks.so", 10, "one:one_lp", "blocks:blocks_lp"))
	for name, preload := range preloads {
		c := start(t, "a", preload, "pointers_"+name)
		_, err := io.WriteString(c.In, "p\n")
		must(t, err)
		c.Line()
		for _, revert := range []bool{false, true} {
			c.is(engine.Changed, nil,
				c.one(engine.Options{Containers: cs, Engines: careful(), Revert: revert}))
		}
	}
}

// TestCarefulSeveral applies two live patches of the same functions under one stop, and takes both
// out.
func TestCarefulSeveral(t *testing.T) {
	preloads := flavours(t)
	preloads["native"] = ""
	both := read(t, container(t, "a", 10), container(t, "a", 20))
	for name, preload := range preloads {
		c := start(t, "a", preload, "careful2_"+name)
		c.is(engine.Changed, nil, c.one(engine.Options{Containers: both, Engines: careful()}))
		c.says(tens20)
		c.is(engine.Changed, nil,
			c.one(engine.Options{Containers: both, Revert: true, Engines: careful()}))
		c.says(unpatched)
	}
}

// TestCarelessByDefault: a thread inside is no reason to wait, unless that is asked for.
func TestCarelessByDefault(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	for name, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
		c := start(t, "a", preload, "careless_"+name, "FIFO="+fifo)
		leave := c.enter(fifo)
		cs := read(t, pack(t, "a", "libtarget_blocks.so", 10, "one:one_lp", "blocks:blocks_lp"))
		c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: auto()}))
		leave()
		c.says("10 2 3 107")
	}
}

// TestNotAppliedAnyMore: what was reverted while a thread was in it stays in memory for that
// thread, and is not applied.
func TestNotAppliedAnyMore(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	c := start(t, "a", "", "anymore", "FIFO="+fifo)
	cs := read(t, pack(t, "a", "libtarget_blocks.so", 10, "one:one_lp", "blocks:blocks_lp"))
	c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: onlyNative}))
	leave := c.enter(fifo)
	c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: onlyNative,
		Revert: true}))
	c.kept(1)
	for _, o := range []engine.Options{{Containers: cs, Revert: true},
		{RevertAll: "libtarget.so"}} {
		want := map[bool]error{true: engine.ErrNotApplied, false: engine.ErrNoPatches}[o.Revert]
		o.Engines = onlyNative
		r := c.one(o)
		c.is(engine.Already, want, r)
		if !strings.Contains(r.Results[0].Err.Error(), "a thread still needs its memory") {
			t.Errorf("%+v", r)
		}
	}
	c.kept(1)
	c.says(unpatched)
	c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: onlyNative}))
	c.says("10 2 3 107")
	leave()
}

// kept fails the test unless the survey tells of so many live patches that are not applied any more
// and still in memory.
func (c *child) kept(want int) {
	c.t.Helper()
	list, _, err := engine.Look(c.t.Context(), engine.SurveyOptions{Selector: c.selector(),
		Engines: auto()})
	if err != nil || len(list) != 1 || list[0].Patched() || len(list[0].Kept) != want {
		c.t.Errorf("%+v, %v", list, err)
	}
}

// TestKeptIsFreed: memory that was kept for a thread is given back once that has left: by a revert
// of what is not applied any more, and by a run that finds all as it should be; not by a dry run.
func TestKeptIsFreed(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	cs := read(t, pack(t, "a", "libtarget_blocks.so", 10, "one:one_lp", "blocks:blocks_lp"))
	other := read(t, pack(t, "a", "libtarget_two.so", 20, "two:two_lp"))
	for name, o := range map[string]engine.Options{
		"revert": {Containers: cs, Revert: true}, "revertall": {RevertAll: "libtarget.so"},
		"reconcile": {Containers: other, Replace: true},
	} {
		for by, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
			c := start(t, "a", preload, "keptfreed_"+name+by, "FIFO="+fifo)
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: onlyNative}))
			leave := c.enter(fifo)
			c.is(engine.Changed, nil, c.one(engine.Options{Containers: cs, Engines: onlyNative,
				Revert: true}))
			if name == "reconcile" {
				r := c.one(engine.Options{Containers: other, Engines: auto()})
				c.is(engine.Changed, nil, r)
			}
			before := c.values()
			leave()
			c.says(before)
			o.Engines, o.DryRun = auto(), true
			c.one(o)
			if !c.has(cs) {
				t.Errorf("%s, %s: it is gone too early:\n%s", name, by, c.maps())
			}
			o.DryRun = false
			r := c.one(o)
			for end := time.Now().Add(time.Minute); c.has(cs) &&
				time.Now().Before(end); r = c.one(o) {
				time.Sleep(time.Millisecond) // the thread is on its way
			}
			if r.Status != engine.Already || name != "reconcile" &&
				!strings.Contains(r.Results[0].Err.Error(), "is given back") {
				t.Errorf("%s, %s: %+v", name, by, r)
			}
			if c.has(cs) {
				t.Errorf("%s, %s: it is still there:\n%s", name, by, c.maps())
			}
			c.says(before)
		}
	}
}

// enter has a thread call a function, and returns when it is in it. It stays there until the
// function that is returned is called.
func (c *child) enter(fifo string) (leave func()) {
	c.t.Helper()
	_, err := io.WriteString(c.In, "b\n")
	must(c.t, err)
	c.Line()
	for {
		fd, err := unix.Open(fifo, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return func() { _ = unix.Close(fd) }
		case !errors.Is(err, unix.ENXIO): // nobody has it open for reading yet
			c.t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// values has the program call the functions.
func (c *child) values() string {
	c.t.Helper()
	_, err := io.WriteString(c.In, "\n")
	must(c.t, err)
	return c.Line()
}

// maps returns the mappings of code, and what is mapped by the native engine.
func (c *child) maps() string {
	c.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(c.allMaps()) {
		if strings.Contains(line, " r-xp ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// allMaps returns the mappings of the process.
func (c *child) allMaps() string {
	c.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	must(c.t, err)
	return string(data)
}

// has reports whether the live patch is in the process's memory, whatever the engines say: its path
// stands before it.
func (c *child) has(cs *engine.Containers) bool {
	c.t.Helper()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	must(c.t, err)
	defer mem.Close()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	must(c.t, err)
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x r-xp 00000000 00:00 0", &from, &to); err != nil {
			continue
		}
		b := make([]byte, to-from)
		if _, err := mem.ReadAt(b, from); err == nil &&
			bytes.Contains(b, []byte(filepath.Base(cs.List[0].Path))) {
			return true
		}
	}
	return false
}

// leavesAfter returns careful engines, which let the thread go once they have failed for some time.
func (c *child) leavesAfter(leave func()) []engine.Engine {
	var n atomic.Int32
	var list []engine.Engine
	for _, b := range careful() {
		list = append(list, &counted{b, func() {
			if n.Add(1) == 6 { // of both engines together, hence the third or the sixth attempt
				leave()
			}
		}})
	}
	return list
}

// counted is an engine that tells when it is asked.
type counted struct {
	engine.Engine
	ask func()
}

func (b *counted) Open(ctx context.Context, v *engine.View) (engine.Target, error) {
	b.ask()
	return b.Engine.Open(ctx, v)
}

// TestLastReason: what is said at the end of the time is why it failed as long as there was some,
// and not that it was over.
func TestLastReason(t *testing.T) {
	c := start(t, "a", "", "lastreason")
	e := &fakeEngine{name: "fake"}
	e.do = func(ctx context.Context, _, n int, steps []engine.Step) (engine.Done, error) {
		if n > 1 {
			<-ctx.Done()
			return engine.Done{}, ctx.Err()
		}
		return engine.Done{Errs: []error{&engine.AgainError{Err: errBusy}}}, nil
	}
	o := engine.Options{Containers: read(t, container(t, "a", 10)), Engines: []engine.Engine{e},
		Timeout: time.Second}
	if r := c.one(o); len(r.Results) != 1 || !errors.Is(r.Results[0].Err, errBusy) ||
		r.Status != engine.Failed {
		t.Errorf("%+v, %v", r, r.Results)
	}
}
