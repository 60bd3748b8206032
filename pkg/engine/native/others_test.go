package native

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// seenOnce returns a view of the process as it is now, which can be asked after it has changed.
func seenOnce(t *testing.T, pid int) *View {
	t.Helper()
	v := opened(t, pid)
	st, err := v.readState(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &View{v, st}
}

// TestOtherEnginePassed has another engine apply a live patch while a process is looked at, and
// revert it before anybody looks again: what led to it for that time is not another tool's,
// although all is as it was before.
func TestOtherEnginePassed(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	v := seenOnce(t, c.pid)
	if err := v.v.alone(); err != nil {
		t.Fatal(err)
	}
	c.apply(Options{}, p)
	_, err := v.planned(t.Context(), Change{Apply: []*Patch{p}}, Options{})
	c.change(Change{Revert: everyOne}, Options{})
	if v.v.worked(t.Context(), v.st) {
		t.Fatal("something is left")
	}
	if stale := v.v.moved(t.Context(), v.st, err); !errors.Is(err, ErrForeign) ||
		!errors.Is(stale, ErrStale) {
		t.Errorf("%v: %v", err, stale)
	}
}

// TestOtherEngine has another engine change functions between the look at what is applied and the
// look at the functions: that is to be planned again, and is not another tool's work.
func TestOtherEngine(t *testing.T) {
	for name, lib := range map[string]string{"nops": library(t, nopFlags),
		"code": library(t, "-O0", "-fcf-protection=none")} {
		code := Options{Entries: symtab.EntriesAny}
		mine := pack(t, lib, "first:first_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
		other := pack(t, lib, "first:second_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
		c := start(t, target(t, lib), 0)
		for _, before := range []func(){
			func() { c.apply(code, other) },
			func() { c.revert() },
			func() { c.apply(code, other); c.revert(); c.apply(code, other) },
		} {
			v := seenOnce(t, c.pid)
			before()
			pl, err := v.Plan(t.Context(), Change{Apply: []*Patch{mine}}, code)
			if err == nil {
				_, err = pl.Run(t.Context())
			}
			if !errors.Is(err, ErrStale) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestOtherTool: what is no engine of ours stays another tool's.
func TestOtherTool(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	at := addressOf(t, c, "first")
	c.poke(at-beforeLen, append(bytes.Clone(absolute), bytes.Repeat([]byte{1}, 8)...))
	c.poke(at, []byte{0xeb, byte(256 - beforeLen - atLen)})
	if _, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
		Options{}); !errors.Is(err, ErrForeign) {
		t.Errorf("%v", err)
	}
}

// TestOtherEngineLoads: memory that an engine has mapped and not filled yet looks like that of one
// which was killed. If it is filled when the process stops, it is not given back.
func TestOtherEngineLoads(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	const at, size = 0x10_0000_0000, 4 * pageSize
	c.says(fmt.Sprintf("file %d %d", at, size), "1")
	c.poke(at, make([]byte, size))
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "testdata/patch.c")
	for _, ch := range []Change{{Apply: []*Patch{p}}, {}} {
		pl, err := newPlan(t.Context(), look(t, c.pid), ch, Options{})
		if err != nil {
			t.Fatal(err)
		}
		c.poke(at, []byte("filled"))
		if _, err := pl.Run(t.Context()); !errors.Is(err, ErrStale) {
			t.Errorf("%v", err)
		}
		if maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid)); !strings.Contains(
			string(maps), "1000000000-") {
			t.Fatal("it was given back")
		}
		c.poke(at, make([]byte, 6))
	}
	if res := c.change(Change{}, Options{}); res.Retired != 0 {
		t.Errorf("%+v", res)
	}
	if maps, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid)); strings.Contains(string(maps),
		"1000000000-") {
		t.Error("what nobody fills is not given back")
	}
}

// TestHalfWritten: a record that is half written is damaged only if nobody is at work in the
// process.
func TestHalfWritten(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "testdata/patch.c"))
	v := opened(t, c.pid)
	st, err := v.readState(t.Context())
	if err != nil || len(st.records) != 1 {
		t.Fatal(st, err)
	}
	c.poke(st.records[0].Base+recordHead+3, []byte{0xaa, 0xbb})
	if _, err := v.steadyState(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("nobody is at work: %v", err)
	}
	traced(t, c.pid, func() {
		if _, err := v.steadyState(t.Context()); !errors.Is(err, ErrStale) {
			t.Errorf("somebody is at work: %v", err)
		}
	})
}

// traced runs f while this test traces a process.
func traced(t *testing.T, pid int, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = unix.PtraceInterrupt(pid)
		_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		_ = unix.PtraceDetach(pid)
	}()
	f()
}
