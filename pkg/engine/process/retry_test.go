package process_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// TestScanRetry visits each process once before any is visited again but for one turn in four, also
// if there is but one place, and tells each that waits when the scan ends.
func TestScanRetry(t *testing.T) {
	var pids []int
	for range 8 {
		pids = append(pids, start(t).pid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var order []int
	over := map[int]int{}
	var again func(pid int) func(ctx context.Context) *process.Later
	again = func(pid int) func(ctx context.Context) *process.Later {
		return func(ctx context.Context) *process.Later {
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				over[pid]++
				return nil
			}
			if order = append(order, pid); len(order) == 24 {
				cancel()
			}
			return &process.Later{Pause: time.Millisecond, Visit: again(pid)}
		}
	}
	o := process.ScanOptions{PIDs: pids, Workers: 1}
	err := process.ScanRetry(ctx, o,
		func(ctx context.Context, p *process.Process, _ error) *process.Later {
			return again(p.PID)(ctx)
		})
	if err != nil { // all were begun
		t.Error(err)
	}
	early := order[:len(pids)*4/3+1] // with the repeated visits among them
	for _, pid := range pids {
		if !slices.Contains(early, pid) {
			t.Errorf("process %d is not among the first ones of %v", pid, order)
		}
	}
	for _, pid := range pids {
		if over[pid] != 1 {
			t.Errorf("process %d was told %d times that it is over", pid, over[pid])
		}
	}
}

// TestScanRetryTime ends the turns of a process with its time.
func TestScanRetryTime(t *testing.T) {
	c := start(t)
	visits, over := 0, false
	var again func(ctx context.Context) *process.Later
	again = func(ctx context.Context) *process.Later {
		if over = ctx.Err() != nil; over {
			return nil
		}
		visits++
		return &process.Later{Pause: time.Hour, Visit: again}
	}
	o := process.ScanOptions{PIDs: []int{c.pid}, Timeout: 20 * time.Millisecond}
	err := process.ScanRetry(t.Context(), o,
		func(ctx context.Context, _ *process.Process, _ error) *process.Later { return again(ctx) })
	if err != nil || visits != 1 || !over {
		t.Errorf("%v: %d visits, over: %v", err, visits, over)
	}
}

// TestScanUnbegun names the processes that were not begun, and begins them first the next time.
func TestScanUnbegun(t *testing.T) {
	var pids []int
	for range 4 {
		pids = append(pids, start(t).pid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o := process.ScanOptions{PIDs: pids, Workers: 1}
	scan := func(ctx context.Context, stop func()) (order []int, err error) {
		err = process.Scan(ctx, o, func(_ context.Context, p *process.Process, _ error) {
			if order = append(order, p.PID); len(order) == 2 {
				stop()
			}
		})
		return order, err
	}
	order, err := scan(ctx, cancel)
	e, ok := errors.AsType[*process.UnbegunError](err)
	if !ok || !errors.Is(err, context.Canceled) || !slices.Equal(order, pids[:2]) ||
		!slices.Equal(e.PIDs, pids[2:]) {
		t.Fatalf("%v, %v, %+v", order, err, e)
	}
	o.First = e.PIDs
	order, err = scan(t.Context(), func() {})
	if want := append(slices.Clone(pids[2:]), pids[:2]...); err != nil ||
		!slices.Equal(order, want) {
		t.Errorf("%v, %v, want %v", order, err, want)
	}
}

// TestScanOrder begins root's processes first, then those with other rights than their user's, then
// users in turn; what a user does to look like root's, or like many users, does not help.
func TestScanOrder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for processes of several users")
	}
	begin := func(argv ...string) int {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = "/"
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd.Process.Pid
	}
	hidden := compile(t, "hidden.c", "-static")
	as := func(uid string, argv ...string) int {
		return begin(append([]string{"setpriv", "--reuid=" + uid, "--regid=" + uid,
			"--clear-groups"}, argv...)...)
	}
	pids := []int{
		as("4711", "sleep", "1000"),
		as("4711", hidden), // not dumpable: its files in proc are root's
		// all capabilities, in its own namespace
		as("4711", "unshare", "--user", "sh", "-c", "sleep 1000; exit"),
		// root, in its own namespace
		as("4711", "unshare", "--user", "-r", "sh", "-c", "sleep 1000; exit"),
		as("4712", "sleep", "1000"),
		begin("setpriv", "--ruid=4713", "--euid=0", "--clear-groups", "sleep", "1000"),
		begin("sleep", "1000"),
	}
	for _, pid := range pids {
		waitProgram(t, pid)
	}
	// pids[1] comes back from root's
	want := []int{pids[6], pids[5], pids[0], pids[4], pids[2], pids[3], pids[1]}
	var order []int
	err := process.Scan(t.Context(), process.ScanOptions{PIDs: pids, Workers: 1},
		func(_ context.Context, p *process.Process, _ error) {
			order = append(order, p.PID)
		})
	if err != nil || !slices.Equal(order, want) {
		t.Errorf("%v, order %v, want %v of %v", err, order, want, pids)
	}
}

// waitProgram waits until a process runs what it was started for.
func waitProgram(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		if p, err := process.Look(t.Context(), pid, process.Options{}); err == nil &&
			p.Name != "setpriv" && p.Name != "unshare" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d does not run its program", pid)
}
