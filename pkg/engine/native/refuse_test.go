package native

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// refused fails the test unless a change is refused for all of some reasons, and nothing of the
// process is changed by it.
func (c *child) refused(ch Change, o Options, reasons ...error) {
	c.t.Helper()
	before := c.snapshot()
	_, err := do(c.t.Context(), look(c.t, c.pid), ch, o)
	for _, want := range reasons {
		if !errors.Is(err, want) {
			c.t.Errorf("%v, want %v", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		c.t.Errorf("%q is more than one line", err)
	}
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		c.t.Errorf("changed: %s", d)
	}
}

// TestLimits: a process without address space, or without free descriptors, is left as it was.
func TestLimits(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for limit, why := range map[string]error{"as": unix.ENOMEM, "nofile": unix.EMFILE} {
		for how, h := range loading {
			t.Run(limit+" "+how, func(t *testing.T) {
				c := start(t, target(t, lib), h.threads, "SPIN=1")
				c.says(limit, "ok")
				c.refused(Change{Apply: []*Patch{p}}, Options{oneByOne: h.oneByOne, load: "memfd"},
					ErrRefused, why)
				c.says("all", original)
				if limit == "nofile" { // anonymous memory needs none
					c.apply(Options{oneByOne: h.oneByOne}, p)
					c.says("all", patched)
				} else {
					c.refused(Change{Apply: []*Patch{p}}, Options{oneByOne: h.oneByOne}, ErrRefused,
						why)
				}
			})
		}
	}
}

// loading are the ways in which regions get into a process: its threads sleep, and are asked for
// each result or for all at once; or one runs.
var loading = map[string]struct {
	oneByOne bool
	threads  int
}{"at once": {}, "one by one": {oneByOne: true}, "running": {threads: 1}}

// TestLimitsInBetween gives the process less address space than loading takes, in many sizes: what
// could be mapped is unmapped again.
func TestLimitsInBetween(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for how, h := range loading {
		c := start(t, target(t, lib), h.threads, "SPIN=1")
		old := unix.Rlimit{}
		if err := unix.Prlimit(c.pid, unix.RLIMIT_AS, nil, &old); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.pid))
		if err != nil {
			t.Fatal(err)
		}
		var pages uint64
		fmt.Sscan(string(b), &pages)
		failed := 0
		for {
			limit := unix.Rlimit{Cur: (pages + uint64(failed)) * pageSize, Max: old.Max}
			if err := unix.Prlimit(c.pid, unix.RLIMIT_AS, &limit, nil); err != nil {
				t.Fatal(err)
			}
			before := c.snapshot()
			_, err := do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}},
				Options{oneByOne: h.oneByOne})
			if err == nil {
				break
			}
			failed++
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("%s: %d pages: %v", how, failed, err)
			}
			if d := cmp.Diff(before, c.snapshot()); d != "" {
				t.Fatalf("%s: %d pages: changed: %s", how, failed, d)
			}
		}
		_ = unix.Prlimit(c.pid, unix.RLIMIT_AS, &old, nil)
		c.says("all", patched)
		if failed < 10 {
			t.Errorf("%s: only %d times", how, failed)
		}
	}
}

// TestOneByOne: applied and reverted without any batch of system calls.
func TestOneByOne(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 2)
	before := c.snapshot()
	c.apply(Options{oneByOne: true}, p)
	c.says("all", patched)
	c.change(Change{Revert: everyOne}, Options{oneByOne: true})
	c.says("all", original)
	c.cleared(before)
}

// TestSeccomp: what a filter forbids is not tried.
func TestSeccomp(t *testing.T) {
	targettest.NeedFilters(t)
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	apply := Change{Apply: []*Patch{p}}
	c := start(t, target(t, lib), 2)
	c.says("allow", "0")
	c.apply(Options{}, p)
	c.says("all", patched)
	c.revert()
	for filter, needed := range map[string]bool{
		fmt.Sprint("kill ", unix.SYS_MMAP): true, fmt.Sprint("deny ", unix.SYS_MUNMAP): true,
		fmt.Sprint("deny ", unix.SYS_RT_SIGRETURN): true,
		fmt.Sprint("kill ", unix.SYS_MEMFD_CREATE): false,
		fmt.Sprint("deny ", unix.SYS_MEMFD_CREATE): false,
		fmt.Sprint("kill ", unix.SYS_CLOSE):        false,
		fmt.Sprint("kill ", unix.SYS_FTRUNCATE):    false,
	} {
		t.Run(filter, func(t *testing.T) {
			c := start(t, target(t, lib), 2)
			before := c.snapshot()
			c.says("allow", "0") // a filter before the other one
			c.says(filter, "0")
			if needed {
				c.refused(apply, Options{}, ErrSeccomp)
				c.right()
			} else {
				c.refused(apply, Options{load: "memfd"}, ErrSeccomp)
				c.apply(Options{}, p)
				c.expect(2)
				c.right()
				c.expect(0)
				c.cleared(before)
			}
			c.apply(Options{SuspendSeccomp: true}, p)
			c.expect(2)
			c.right()
			c.expect(0)
			for c.snapshot() != before {
				c.change(Change{Revert: func(AppliedPatch) bool { return len(c.active()) > 0 }},
					Options{SuspendSeccomp: true})
			}
			c.right()
			c.filtered(filter)
		})
	}
	c = start(t, target(t, lib), 0)
	c.says("strict", "ok")
	for deadline := time.Now().Add(10 * time.Second); look(t, c.pid).
		Seccomp != process.SeccompStrict && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	c.refused(apply, Options{SuspendSeccomp: true}, ErrSeccomp)
}

// TestRefusals: what stops every way to load is said once.
func TestRefusals(t *testing.T) {
	filter := func() error { return fmt.Errorf("mmap: %w", ErrSeccomp) }
	err := refusals([]error{filter(), filter(), fmt.Errorf("no file: %w", ErrRefused), filter()})
	want := "mmap: " + ErrSeccomp.Error() + "; no file: " + ErrRefused.Error()
	if !errors.Is(err, ErrSeccomp) || errors.Is(err, ErrRefused) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// filtered fails the test unless a filter does what its name says to who makes that call.
func (c *child) filtered(filter string) {
	c.t.Helper()
	what, nr, _ := strings.Cut(filter, " ")
	if what == "deny" {
		c.says("try "+nr, "-1")
	} else {
		c.Ends("try "+nr, unix.SIGSYS)
	}
}

// TestDenyWriteExecute: memory is never writable and executable, nor does it become executable
// later.
func TestDenyWriteExecute(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	if got := c.Ask("mdwe"); !strings.HasPrefix(got, "0") {
		t.Skipf("the kernel has no PR_SET_MDWE: %s", got)
	} else if got != "0 refused" {
		t.Fatalf("memory that is writable and executable: %s", got)
	}
	c.apply(Options{}, p)
	c.says("all", patched)
	for line := range strings.Lines(c.snapshot()) {
		if strings.Contains(line, " rwx") {
			t.Errorf("mapped: %s", line)
		}
	}
	c.revert()
	c.says("all", original)
}

// TestNoRoomNear fills the address space around the library: functions with NOPs do not need it,
// others do.
func TestNoRoomNear(t *testing.T) {
	lib := library(t, nopFlags)
	plain := library(t)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	q := pack(t, plain, "reads_secret:reads_secret_lp\n#secret:ulpr_secret\n",
		ulp.PackOptions{Force: true}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.Ask("full")
	c.apply(Options{}, p)
	c.says("all", patched)
	if list, entry := c.list(), addressOf(t, c, "first"); max(list[0].Base, entry)-
		min(list[0].Base, entry) < 1<<31 {
		t.Errorf("there was room near the library: at %#x", list[0].Base)
	}
	c.revert()
	c.says("all", original)
	c = start(t, target(t, plain), 0)
	c.Ask("full")
	c.refused(Change{Apply: []*Patch{q}}, Options{Entries: symtab.EntriesAny}, ErrNoRoom)
}

// TestRoomTaken: where the process, or another engine, maps something between the plan and the stop
// nothing is mapped over it, and nothing is written into it.
func TestRoomTaken(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for how, h := range loading {
		t.Run(how, func(t *testing.T) {
			c := start(t, target(t, lib), h.threads, "SPIN=1")
			change, o := Change{Apply: []*Patch{p}}, Options{oneByOne: h.oneByOne}
			pl, err := newPlan(t.Context(), look(t, c.pid), change, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range pl.regions {
				size := b.size
				c.says(fmt.Sprintf("file %d %d", b.base, size), "1")
				c.stale(pl, "all of it")
				c.unmaps(b.base, size)
				for at := b.base; at < b.base+size; at += pageSize {
					c.says("over "+itoa(int(at)), "1")
					c.stale(pl, fmt.Sprintf("at + %#x", at-b.base))
					c.unmaps(at, pageSize)
				}
			}
			c.says("all", original)
			_, err = pl.Run(t.Context())
			if errors.Is(err, process.ErrLimit) {
				// the machine has made too many processes since the plan, which has to be made anew
				_, err = do(t.Context(), look(t, c.pid), change, o)
			}
			if err != nil {
				t.Error(err)
			}
			c.says("all", patched)
		})
	}
}

// stale fails the test unless a plan is too old, and leaves the process as it is.
func (c *child) stale(pl *Plan, what string) {
	c.t.Helper()
	before := c.snapshot()
	if _, err := pl.Run(c.t.Context()); !errors.Is(err, ErrStale) {
		c.t.Errorf("%s: %v", what, err)
	}
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		c.t.Errorf("%s: changed: %s", what, d)
	}
}

// unmaps takes memory from the process.
func (c *child) unmaps(from, size uint64) {
	c.t.Helper()
	for at := from; at < from+size; at += pageSize {
		c.says("unmap "+itoa(int(at)), "0")
	}
}

// TestNotThere: a process without the library, and one with another build of it.
func TestNotThere(t *testing.T) {
	lib := library(t, nopFlags)
	other := library(t, nopFlags, "-DOTHER",
		"-Wl,--build-id=0x1111111111111111111111111111111111111111")
	p := pack(t, other, both, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrNoLibrary)
}

// TestUnresolved: what the container needs and nothing in the process has.
func TestUnresolved(t *testing.T) {
	lib := library(t, nopFlags)
	source := t.TempDir() + "/p.c"
	if err := os.WriteFile(source, []byte("int nowhere(void); __attribute__((weak)) int "+
		"perhaps(void);"+
		"int first_lp(void) { return perhaps ? nowhere() : 3; }"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := start(t, target(t, lib), 0)
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source)
	c.refused(Change{Apply: []*Patch{p}}, Options{}, ErrUnresolved)
	if err := os.WriteFile(source, []byte("__attribute__((weak)) int perhaps(void); int "+
		"first_lp(void) { return perhaps ? 4 : 3; }"),
		0o600); err != nil {
		t.Fatal(err)
	}
	p = pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, source, "-DWEAK")
	c.apply(Options{}, p)
	c.says("all", "3 1 5 7 original")
}

// TestStopped: a process in a group stop is patched and stays stopped.
func TestStopped(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 2)
	if err := unix.Kill(c.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for look(t, c.pid).State != process.Stopped {
		time.Sleep(time.Millisecond)
	}
	c.apply(Options{}, p)
	for end := time.Now().Add(10 * time.Second); look(t, c.pid).
		State != process.Stopped; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			// a thread that is let go runs in the kernel for a moment, until it stops again
			t.Fatalf("state %v", look(t, c.pid).State)
		}
	}
	if err := unix.Kill(c.pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.expect(2)
	c.right()
	c.says("all", patched)
}
