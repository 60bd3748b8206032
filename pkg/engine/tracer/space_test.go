package tracer

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
)

// TestMemoryOfVforkChild attaches to a child of vfork, which has its parent's memory, while it
// executes another program: its memory is that of the new program, or there is an error, depending
// on whether it was seized before.
func TestMemoryOfVforkChild(t *testing.T) {
	for step, want := range map[string]error{"attach:seize": nil, "attach:interrupt": ErrExec} {
		c := start(t, program(t, "life"), "vforkexec")
		pid, err := strconv.Atoi(c.Line())
		if err != nil || pid <= 0 { // which would be others to kill(2)
			t.Fatal(pid, err)
		}
		t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
		tr, err := tryAttach(t.Context(), pid, Options{step: func(name string) {
			switch {
			case name != step:
			case want == nil:
				if c.In.Close(); c.Line() != "executed" {
					t.Error("it did not execute")
				}
			default: // it stops after the exec
				c.In.Close()
				await(t, pid, "t")
			}
		}})
		if !errors.Is(err, want) {
			t.Errorf("executed before %s: %v, want %v", step, err, want)
		}
		if err == nil {
			sameMemory(t, tr)
			detach(t, tr)
		}
	}
}

// sameMemory compares what a Tracee reads with what is there.
func sameMemory(t *testing.T, tr *Tracee) {
	t.Helper()
	f, err := os.Open(taskPath(tr.pid, tr.pid, "mem"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, addr := range []uint64{tr.Threads()[0].SP(), tr.Threads()[0].PC()} {
		var got, want [16]byte
		_, err := tr.Memory().ReadAt(got[:], int64(addr))
		_, wantErr := f.ReadAt(want[:], int64(addr))
		if err != nil || wantErr != nil || !bytes.Equal(got[:], want[:]) {
			t.Errorf("at %#x: % x, %v; want % x, %v", addr, got, err, want, wantErr)
		}
	}
	if stack, ok := tr.space.initialStack(tr.space.stack); !ok ||
		tr.Threads()[0].SP()-stack.Start > stack.End-stack.Start {
		t.Errorf("stack %x, found: %v; want that around %#x", stack, ok, tr.Threads()[0].SP())
	}
}

// TestIncompleteList begins with a list of threads that lacks some, as one does that was read while
// others ended.
func TestIncompleteList(t *testing.T) {
	c := startChecker(t, 4, "pause")
	tids := must(tasks(c.pid))
	tr := newTracee(c.pid, Options{StopTimeout: defaultStopTimeout})
	var err error
	tr.w.do(func() {
		tr.dir = must(procfs.Open(procfs.Root, c.pid))
		tr.reaper = startReaper(c.pid)
		defer tr.reaper.stop()
		if _, err = tr.seizeNew(tids[:2]); err != nil {
			return
		}
		for _, th := range tr.threads {
			err = errors.Join(err, tr.waitStopped(t.Context(), th,
				tr.attached.Add(defaultStopTimeout)))
		}
		if tr.allStopped() {
			t.Error("2 of 4 threads are taken for all")
		}
		err = errors.Join(err, tr.stopThreads(t.Context()))
		if len(tr.threads) != len(tids) || !tr.allStopped() {
			t.Errorf("%d of %d threads were found", len(tr.threads), len(tids))
		}
	})
	if err = errors.Join(err, tr.Detach()); err != nil {
		t.Error(err)
	}
	c.goesOn()
}

// TestEndedInList has a list of threads that shows one which has ended since: another list is
// needed, as it may have made another thread that the list does not have, but that was counted in
// its place. Not so if it had ended before the list.
func TestEndedInList(t *testing.T) {
	c := startChecker(t, 2, "pause")
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	tr := attach(t, c.pid, Options{})
	var grown []bool
	var err error
	tr.w.do(func() {
		tr.reaper = startReaper(c.pid)
		defer tr.reaper.stop()
		tids := must(tasks(c.pid))
		for _, list := range [][]int{tids, append(tids, gone.Process.Pid),
			append(tids, gone.Process.Pid)} {
			g, e := tr.seizeNew(list)
			grown, err = append(grown, g), errors.Join(err, e)
		}
	})
	if want := []bool{false, true, false}; err != nil || !slices.Equal(grown, want) {
		t.Errorf("lists show something new: %v, %v; want %v", grown, err, want)
	}
	detach(t, tr)
	c.goesOn()
}

// TestNoneMissed attaches to a process whose threads make and end others all the time, so that
// lists of them are often incomplete: no thread runs while it is attached.
func TestNoneMissed(t *testing.T) {
	c := start(t, program(t, "life"), "threads")
	for range 200 {
		tr := attach(t, c.pid, Options{StopTimeout: defaultStopTimeout * 10})
		tids, complete, err := tr.tasks()
		if err != nil || !complete {
			t.Fatalf("list of threads that stand still: complete %v, %v", complete, err)
		}
		for _, tid := range tids {
			if s, err := tr.dir.Stat(tid); err != nil || s.State != 't' && !s.Ended() {
				t.Errorf("thread %d runs: %+v, %v", tid, s, err)
			}
		}
		detach(t, tr)
	}
}
