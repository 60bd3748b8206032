package native

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestBusy reverts while a thread is in the live patch, in several ways: it goes on there and comes
// back, and only then is the memory given back.
func TestBusy(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for how, want := range map[string]string{
		"block": "2",  // in a system call
		"calls": "15", // has called somebody else
		"deep":  "15", // far up on its stack
		// the same in a handler on a stack of its own, with another frame on the stack below
		"signal": "15",
	} {
		t.Run(how, func(t *testing.T) {
			c := start(t, target(t, lib), 0)
			c.apply(Options{}, p)
			c.says(how, "ok")
			if res := c.revert(); res.Reverted != 1 || res.Retired == 0 {
				t.Errorf("reverted: %+v", res)
			}
			if list := c.list(); len(list) != 1 || list[0].Active {
				t.Errorf("after the revert: %+v", list)
			}
			c.says("all", original)
			c.says("release", want)
			if res := c.change(Change{}, Options{}); res.Retired != 0 {
				t.Errorf("freed: %+v", res)
			}
			if list := c.list(); len(list) != 0 {
				t.Errorf("at the end: %+v", list)
			}
		})
	}
}

// TestOnlyRegisters has a thread in the live patch of which nothing on its stack tells: it has
// called nobody.
func TestOnlyRegisters(t *testing.T) {
	lib := library(t, nopFlags)
	const reads = `int blocks_lp(int fd) { char c; long r;
asm volatile("syscall" : "=a"(r) : "0"(0l), "D"((long)fd), "S"(&c), "d"(1l)
		: "rcx", "r11", "memory"); return r == 1 ? 2 : -1; }`
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, pack(t, lib, "first:first_lp\nblocks:blocks_lp\n", ulp.PackOptions{},
		source(t, reads, "2")))
	c.says("block", "ok")
	if res := c.revert(); res.Retired != 1 {
		t.Errorf("%+v", res)
	}
	c.says("release", "2")
	if res := c.change(Change{}, Options{}); res.Retired != 0 || len(c.list()) != 0 {
		t.Errorf("at the end: %+v", res)
	}
}

// TestFarUp has a call of a function that is replaced megabytes up on a thread's stack, below a
// recursion of others.
func TestFarUp(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, "calls:calls_lp\n", ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.says("far", "ok")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := do(ctx, look(t, c.pid), Change{Apply: []*Patch{p}},
		Options{Consistency: ConsistencyFunctions})
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Function != "calls" {
		t.Errorf("in the original: %v", err)
	}
	c.says("release", "6")
	c.apply(Options{}, p)
	c.says("far", "ok")
	if res := c.revert(); res.Retired != 1 {
		t.Errorf("in the live patch: %+v", res)
	}
	c.says("release", "15")
	if res := c.change(Change{}, Options{}); res.Retired != 0 || len(c.list()) != 0 {
		t.Errorf("at the end: %+v", res)
	}
}

// TestSignalFrames: a thread in a handler on a stack of its own, which interrupted a live patch,
// keeps that in memory even if the handler itself has nothing to do with it.
func TestSignalFrames(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	p := pack(t, lib, "deep:deep_lp\ncalls:calls_lp\n", ulp.PackOptions{}, "testdata/patch.c")
	q := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "testdata/patch.c", "-DANSWER=9")
	for how, says := range map[string]string{"signal": "15", "handler": "5"} {
		c.apply(Options{}, p)
		c.apply(Options{}, q)
		c.says(how, "ok")
		res := c.revert()
		if res.Retired != 1 { // p; not q, and not the table, whose stubs leave nothing on a stack
			t.Errorf("%s: %+v", how, res)
		}
		c.says("release", says)
		if res = c.change(Change{}, Options{}); res.Retired != 0 {
			t.Errorf("%s: %+v", how, res)
		}
	}
}

// TestRedZone: a function that calls nobody may keep what it needs below its stack pointer; there,
// too, a pointer into a live patch is seen.
func TestRedZone(t *testing.T) {
	lib := library(t, nopFlags)
	program := gcc(t, "redzone", "testdata/redzone.c", "testdata/redzone.S", lib, "-pthread",
		"-Wl,-rpath,"+filepath.Dir(lib))
	path := filepath.Join(t.TempDir(), "p.c")
	text := `const char *text_lp(char *to) { static char word[] = "replace"; asm("" : ` +
		`"+m"(word)); return word; }`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, program, 0)
	c.apply(Options{}, pack(t, lib, "text:text_lp\n", ulp.PackOptions{}, path))
	c.says("keep", "ok")
	if res := c.revert(); res.Retired != 1 {
		t.Errorf("%+v", res)
	}
	c.says("read", "replace")
	if res := c.change(Change{}, Options{}); res.Retired != 0 || len(c.list()) != 0 {
		t.Errorf("at the end: %+v", res)
	}
}

// doBusy is a do that is given little time, but enough to get as far as the stop.
func doBusy(t testing.TB, pid int, ch Change, o Options) error {
	t.Helper()
	for most := 100 * time.Millisecond; ; most *= 4 {
		ctx, cancel := context.WithTimeout(context.Background(), most)
		_, err := do(ctx, look(t, pid), ch, o)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrAgain) ||
			most > time.Minute {
			return err
		}
	}
}

// TestConsistency: with ConsistencyFunctions nothing is switched while a thread is in a function
// that is replaced, be it the original or another live patch's.
func TestConsistency(t *testing.T) {
	lib := library(t, nopFlags)
	two := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	three := answer(t, lib, 3, "calls:calls_lp\n")
	functions := Options{Consistency: ConsistencyFunctions}
	var c *child
	try := func(ch Change) error { return doBusy(t, c.pid, ch, functions) }
	for how, where := range map[string]string{"calls": "calls", "block": "blocks", "deep": "deep"} {
		c = start(t, target(t, lib), 0) // whose stacks hold no words that an earlier thread left
		c.says(how, "ok")
		before := c.snapshot()
		err := try(Change{Apply: []*Patch{two}})
		busy, ok := errors.AsType[*BusyError](err)
		if !errors.Is(err, ErrAgain) || !ok || busy.Function != where || busy.TID == c.pid {
			t.Errorf("%s: %v", how, err)
		}
		if d := cmp.Diff(before, c.snapshot()); d != "" {
			t.Errorf("%s: changed: %s", how, d)
		}
		c.Ask("release")
	}
	if err := try(Change{Apply: []*Patch{two}}); err != nil {
		t.Error(err)
	}
	c.says("calls", "ok")
	if err := try(Change{Revert: everyOne, Apply: []*Patch{three}}); !errors.Is(err, ErrAgain) {
		t.Errorf("in a live patch: %v", err)
	}
	c.says("release", "15")
	if err := try(Change{Revert: everyOne, Apply: []*Patch{three}}); err != nil {
		t.Error(err)
	}
	c.says("all", original)
}

// TestTriedAgain: a change that a thread is in the way of is made when it has left.
func TestTriedAgain(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.says("calls", "ok")
	looks, leave := 0, make(chan bool)
	go func() {
		<-leave
		_, _ = io.WriteString(c.In, "release\n")
	}()
	c.apply(Options{Consistency: ConsistencyFunctions, step: func(name string) {
		if name == "look" {
			if looks++; looks == 3 {
				close(leave)
			}
		}
	}}, p)
	if got := c.Line(); got != "6" || looks < 4 {
		t.Errorf("it left with %s, at look %d", got, looks)
	}
	c.says("all", patched)
}

// TestBetweenNOPs stops a thread exactly between the two NOPs of a function: it is moved on and
// calls the original.
func TestBetweenNOPs(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 1)
	mid := addressOf(t, c, "first") + 1
	tid := threadAt(t, c.pid, mid)
	moved := 0
	o := Options{step: func(name string) {
		if name == "move" {
			moved++
		}
	}}
	c.apply(o, p)
	if moved != 1 {
		t.Errorf("%d threads were moved", moved)
	}
	if err := unix.Tgkill(c.pid, tid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.expect(2)
	c.right()
}

// TestInsideCode stops a thread within the instructions that a jump is to replace. Nobody can say
// where it would have to go on, so the change waits until it has left.
func TestInsideCode(t *testing.T) {
	lib := library(t, "-O0", "-fcf-protection=none") // push %rbp; mov %rsp,%rbp; mov $1,%eax
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{Force: true}, "testdata/patch.c")
	for _, n := range []uint64{1, 4} {
		c := start(t, target(t, lib), 1)
		tid := threadAt(t, c.pid, addressOf(t, c, "first")+n)
		before := c.snapshot()
		pl, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
			Options{Entries: symtab.EntriesAny})
		if err != nil {
			t.Fatal(err)
		}
		var busy *BusyError
		if _, err := pl.Run(t.Context()); !errors.As(err, &busy) || !errors.Is(err, ErrAgain) ||
			busy.TID != tid {
			t.Errorf("at +%d: %v", n, err)
		}
		if d := cmp.Diff(before, c.snapshot()); d != "" {
			t.Errorf("at +%d: changed: %s", n, d)
		}
		if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		c.right()
		c.apply(Options{Entries: symtab.EntriesAny}, p)
		c.right()
		c.says("all", "2 1 5 7 original")
	}
}

// TestConsistencyOfOthers: a thread in a replacement hinders nothing that leaves its function as it
// is.
func TestConsistencyOfOthers(t *testing.T) {
	lib := library(t, nopFlags)
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, answer(t, lib, 2, "calls:calls_lp\n"))
	c.says("calls", "ok")
	three := answer(t, lib, 3, "first:first_lp\n")
	pl, err := newPlan(t.Context(), look(t, c.pid), Change{Apply: []*Patch{three}},
		Options{Consistency: ConsistencyFunctions})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pl.Run(t.Context()); err != nil {
		t.Error(err)
	}
	c.says("all", "3 1 5 7 original")
	c.says("release", "15")
}

// TestInsideNOPs has a thread in the NOPs before the entry, where it comes from a function in front
// that ends without a jump: the jump that is written there must not be entered in its middle.
func TestInsideNOPs(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, both, ulp.PackOptions{}, "testdata/patch.c")
	for _, back := range []uint64{beforeLen - 1, 8, 1} {
		c := start(t, target(t, lib), 1)
		entry := addressOf(t, c, "first")
		threadAtMoved(t, c.pid, entry, entry-back)
		c.apply(Options{}, p)
		if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		c.expect(2)
		c.right()
	}
}

// addressOf finds a function of the library in the process.
func addressOf(t *testing.T, c *child, name string) uint64 {
	t.Helper()
	m, err := look(t, c.pid).Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	libs, err := m.Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libs {
		if l.SONAME != "libtarget.so" {
			continue
		}
		s, err := m.Symbols(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		sym, err := s.Lookup(t.Context(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		return sym.Addr
	}
	t.Fatal("no library")
	return 0
}

// threadAt lets the last thread of a process run up to an address and leaves it there, in a group
// stop.
func threadAt(t *testing.T, pid int, addr uint64) int {
	t.Helper()
	return threadAtMoved(t, pid, addr, addr)
}

// threadAtMoved is threadAt, and then takes the thread to another place.
func threadAtMoved(t *testing.T, pid int, addr, to uint64) int {
	t.Helper()
	threads, err := look(t, pid).ThreadList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tid := threads[len(threads)-1].TID
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		done <- stepTo(pid, tid, addr, to)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); look(t, pid).State != process.Stopped; {
		if time.Sleep(time.Millisecond); time.Now().After(deadline) {
			t.Fatal("the process does not stop")
		}
	}
	return tid
}

func stepTo(pid, tid int, addr, to uint64) error {
	if err := unix.PtraceSeize(tid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return err
	}
	for range 1_000_000 {
		var ws unix.WaitStatus
		if _, err := unix.Wait4(tid, &ws, unix.WALL, nil); err != nil {
			return err
		}
		var regs unix.PtraceRegs
		if err := unix.PtraceGetRegs(tid, &regs); err != nil {
			return err
		}
		if regs.PC() == addr {
			regs.SetPC(to)
			if err := unix.PtraceSetRegs(tid, &regs); err != nil {
				return err
			}
			if err := unix.Tgkill(pid, tid, unix.SIGSTOP); err != nil {
				return err
			}
			return unix.PtraceDetach(tid)
		}
		if err := unix.PtraceSingleStep(tid); err != nil {
			return err
		}
	}
	return os.ErrDeadlineExceeded
}
