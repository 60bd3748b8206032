package libpulp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// TestRegistersSurvive applies and reverts a patch 1,000 times (100 times with the stand-in) in a
// process that holds known values in all general, x87, SSE, AVX and AVX-512 registers, and ends
// when one is wrong.
func TestRegistersSurvive(t *testing.T) {
	flags := []string{"-pthread", "-mavx2"}
	if b, _ := os.ReadFile("/proc/cpuinfo"); bytes.Contains(b, []byte("avx512bw")) {
		flags = []string{"-pthread", "-mavx512f", "-mavx512bw"}
	}
	check := gcc(t, "check", "../tracer/testdata/check.c", flags...)
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	for _, f := range flavours(t) {
		if f.old {
			continue // the same way in and out
		}
		rounds := map[bool]int{true: 10, false: 1}[f.real]
		for range rounds {
			selfCheck(t, check, f, lib, func(c *child) {
				for range 100 {
					must(t, "apply", c.apply(p, path))
					must(t, "revert", c.revert(p))
				}
			})
		}
		t.Logf("%s: %d times", f.name, 100*rounds)
	}
}

// selfCheck runs f while a process checks its registers, and fails the test unless that goes on
// afterwards.
func selfCheck(t *testing.T, check string, fl flavour, lib string, f func(*child)) {
	t.Helper()
	counters := filepath.Join(t.TempDir(), "counters")
	must(t, "counters", os.WriteFile(counters, make([]byte, 4096), 0o600))
	c := run(t, check, fl.path+":"+lib, "", counters, "1")
	if c.Line() != "ready" {
		t.Fatal("not ready")
	}
	f(c)
	count := func() uint64 {
		b, err := os.ReadFile(counters)
		must(t, "counters", err)
		return binary.NativeEndian.Uint64(b)
	}
	for before, end := count(), time.Now().Add(10*time.Second); count() < before+
		2; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: the process does not go on", fl.name)
		}
	}
	c.Kill()
}

// TestBetweenNOPs applies a patch while a thread stands between the two NOPs of a function that it
// replaces: the thread must not wake up in the middle of the jump.
func TestBetweenNOPs(t *testing.T) {
	for _, f := range flavours(t) {
		for _, cet := range []bool{false, true} {
			if cet && f.real && f.old {
				continue // see TestEndbr64
			}
			lib := library(t, cet)
			p, path := container(t, lib, 10, all...)
			c := start(t, lib, f, "", "2")
			r := c.find()
			entry := entryOf(t, c, lib)
			at := entry + 1
			if cet {
				at += 4
			}
			park(t, c, at, at)
			plan, err := r.PlanApply(t.Context(), p, path)
			must(t, "plan", err)
			_, err = r.Stop(t.Context(), tracer.Options{StopTimeout: 10 * time.Second},
				func(s *libpulp.Session) error { return s.Do(t.Context(), plan) })
			must(t, "apply", err)
			must(t, "continue", unix.Kill(c.pid, unix.SIGCONT))
			c.says("10 20 3 1107")
			time.Sleep(10 * time.Millisecond) // the thread may need a while to crash
			c.says("10 20 3 1107")
		}
	}
}

// TestInsideNOPs: a thread that came from the function in front stands in the NOPs before the
// entry.
func TestInsideNOPs(t *testing.T) {
	for _, f := range flavours(t) {
		lib := library(t, false)
		p, path := container(t, lib, 10, all...)
		for _, back := range []uint64{13, 8, 1} {
			c := start(t, lib, f, "", "2")
			r := c.find()
			entry := entryOf(t, c, lib)
			park(t, c, entry, entry-back)
			plan, err := r.PlanApply(t.Context(), p, path)
			must(t, "plan", err)
			_, err = r.Stop(t.Context(), tracer.Options{StopTimeout: 10 * time.Second},
				func(s *libpulp.Session) error { return s.Do(t.Context(), plan) })
			must(t, "apply", err)
			must(t, "continue", unix.Kill(c.pid, unix.SIGCONT))
			c.says("10 20 3 1107")
			time.Sleep(10 * time.Millisecond) // the thread may need a while to crash
			c.says("10 20 3 1107")
		}
	}
}

// park leaves a thread that calls one() all the time at an instruction of it, moved to another
// place, and the process in a group stop.
func park(t *testing.T, c *child, pc, to uint64) {
	t.Helper()
	done := make(chan error)
	go func() { // ptrace belongs to one thread of ours
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- parkHere(c.pid, pc, to)
	}()
	must(t, "parking a thread", <-done)
	waitStopped(t, c)
}

func parkHere(pid int, pc, to uint64) error {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return err
	}
	tid, err := strconv.Atoi(tasks[len(tasks)-1].Name())
	if err != nil {
		return err
	}
	if err := unix.PtraceAttach(tid); err != nil {
		return err
	}
	for range 10_000 {
		var status unix.WaitStatus
		var regs unix.PtraceRegs
		if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
			return err
		}
		if err := unix.PtraceGetRegs(tid, &regs); err != nil {
			return err
		}
		if regs.PC() == pc {
			regs.SetPC(to)
			return errors.Join(unix.PtraceSetRegs(tid, &regs), unix.Kill(pid, unix.SIGSTOP),
				unix.PtraceDetach(tid))
		}
		if err := unix.PtraceSingleStep(tid); err != nil {
			return err
		}
	}
	return errors.New("the thread never came there")
}

func waitStopped(t *testing.T, c *child) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		p, err := process.Look(t.Context(), c.pid, process.Options{})
		must(t, "look", err)
		threads, err := p.ThreadList(t.Context())
		must(t, "threads", err)
		stopped := 0
		for _, th := range threads {
			if th.State == process.Stopped {
				stopped++
			}
		}
		if stopped == len(threads) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d threads stopped", stopped, len(threads))
		}
	}
}

// entryOf returns the address of one().
func entryOf(t *testing.T, c *child, lib string) uint64 {
	t.Helper()
	p, err := process.Look(t.Context(), c.pid, process.Options{})
	must(t, "look", err)
	m, err := p.Memory(t.Context())
	must(t, "memory", err)
	defer m.Close()
	list, err := m.Libraries(t.Context())
	must(t, "libraries", err)
	for _, l := range list {
		if l.Path == lib {
			syms, err := m.Symbols(t.Context(), l)
			must(t, "symbols", err)
			s, err := syms.Lookup(t.Context(), "one", "")
			must(t, "one", err)
			return s.Addr
		}
	}
	t.Fatal("no library")
	return 0
}

func TestComments(t *testing.T) {
	lib := library(t, false)
	p, from := container(t, lib, 10, all...)
	q, other := container(t, lib, 20, "one:one_lp")
	_ = q
	path := filepath.Join(t.TempDir(), "livepatch.so")
	move(t, from, path)
	c := start(t, lib, flavour{path: standIn(t)}, "")
	must(t, "apply", c.apply(p, path))
	r, a := c.find(), &c.applied()[0]
	if s, err := r.Comments(t.Context(), a); err != nil || s != " bsc#12 CVE-2026-1 a test\n" {
		t.Errorf("%q, %v", s, err)
	}
	move(t, other, path)
	_, err := r.Comments(t.Context(), a)
	mustNot(t, "another file", err, libpulp.ErrComments)
	must(t, "remove", os.Remove(path))
	_, err = r.Comments(t.Context(), a)
	mustNot(t, "no file", err, os.ErrNotExist)
	must(t, "fifo", unix.Mkfifo(path, 0o666))
	_, err = r.Comments(t.Context(), a)
	mustNot(t, "fifo", err, libpulp.ErrComments)
	must(t, "remove", os.Remove(path))
	must(t, "sparse", os.WriteFile(path, nil, 0o644))
	must(t, "sparse", os.Truncate(path, 100<<30))
	_, err = r.Comments(t.Context(), a)
	mustNot(t, "sparse", err, libpulp.ErrComments)
	must(t, "remove", os.Remove(path))
	must(t, "device", os.Symlink("/dev/zero", path))
	_, err = r.Comments(t.Context(), a)
	mustNot(t, "device", err, libpulp.ErrComments)
}
