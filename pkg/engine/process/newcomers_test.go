package process_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// forker is a shell that forks another process when it is asked, and the processes of its own that
// a scan has visited.
type forker struct {
	*targettest.Process
	mu     sync.Mutex
	pids   []int
	visits map[int]int
}

func newForker(t *testing.T) *forker {
	t.Helper()
	p := targettest.Start(t, exec.Command("sh", "-c", `trap 'kill $all' EXIT; echo ready; while `+
		`read l; do sleep 1000 >&2 & all="$all $!"; echo $!; done`))
	p.Line()
	t.Cleanup(func() {
		_ = p.In.Close()
		p.Wait()
	})
	return &forker{Process: p, pids: []int{p.Cmd.Process.Pid}, visits: map[int]int{}}
}

// visit notes a visit, and forks another process if that is to be followed by another one.
func (f *forker) visit(t *testing.T, pid, most int) (own bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.pids, pid) {
		return false
	}
	if f.visits[pid]++; len(f.pids) <= most {
		n, err := strconv.Atoi(f.Ask(""))
		if err != nil {
			t.Error(err)
		}
		f.pids = append(f.pids, n)
	}
	return true
}

// scanForks scans all processes while n of them are forked one after the other, each when the one
// before it is visited. changes reports whether a visit changes a process.
func scanForks(ctx context.Context, t *testing.T, n int, changes bool,
	each func()) (*forker, error) {
	t.Helper()
	f := newForker(t)
	changed := false
	o := process.ScanOptions{Changed: func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		was := changed
		changed = false
		return was
	}}
	err := process.Scan(ctx, o, func(_ context.Context, p *process.Process, err error) {
		if err == nil && f.visit(t, p.PID, n) {
			f.mu.Lock()
			changed = changes
			f.mu.Unlock()
			each()
		}
	})
	return f, err
}

// TestScanNewcomers visits processes that are forked while others are visited, each once.
func TestScanNewcomers(t *testing.T) {
	f, err := scanForks(t.Context(), t, 5, true, func() {})
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range f.pids {
		if f.visits[pid] != 1 {
			t.Errorf("process %d of %d was visited %d times", pid, f.pids, f.visits[pid])
		}
	}
}

// TestScanStorm ends although each visit leads to another process: with the names of those that are
// left if they would have to be changed, else as if there were none.
func TestScanStorm(t *testing.T) {
	f, err := scanForks(t.Context(), t, 1000, true, func() {})
	e, ok := errors.AsType[*process.UnbegunError](err)
	if !ok || !errors.Is(err, process.ErrForking) ||
		!slices.Contains(e.PIDs, f.pids[len(f.pids)-1]) || len(f.visits) != len(f.pids)-1 {
		t.Errorf("%d of %d were visited: %v", len(f.visits), len(f.pids), err)
	}
	f, err = scanForks(t.Context(), t, 1000, false, func() {})
	// The shell, and those of two more listings; one more if a visit was slow, and processes were
	// listed meanwhile.
	if n := len(f.visits); err != nil || n != 3 && n != 4 {
		t.Errorf("%d of %d were visited: %v", len(f.visits), len(f.pids), err)
	}
}

// TestScanNewcomersUnbegun names processes that were forked before the end of the scan's time.
func TestScanNewcomersUnbegun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f, err := scanForks(ctx, t, 1, true, cancel)
	e, ok := errors.AsType[*process.UnbegunError](err)
	if !ok || !errors.Is(err, context.Canceled) || !slices.Contains(e.PIDs, f.pids[1]) {
		t.Errorf("%d: %v", f.pids, err)
	}
}

// TestScanNewcomersEarly visits a process that was forked meanwhile although another one hangs, or
// waits for another visit.
func TestScanNewcomersEarly(t *testing.T) {
	for _, tc := range []struct{ hangs, slow bool }{{true, false}, {false, false}, {true, true}} {
		hangs := tc.hangs
		t.Run(fmt.Sprintf("hangs=%v/slow=%v", hangs, tc.slow), func(t *testing.T) {
			f, busy, done := newForker(t), start(t), make(chan struct{})
			o := process.ScanOptions{Changed: func() bool { return false }}
			var wait func(ctx context.Context) *process.Later
			wait = func(ctx context.Context) *process.Later {
				select {
				case <-done:
				case <-ctx.Done():
					t.Error("the process that was forked had to wait")
				default:
					return &process.Later{Visit: wait}
				}
				return nil
			}
			err := process.ScanRetry(t.Context(), o,
				func(ctx context.Context, p *process.Process, err error) *process.Later {
					switch {
					case err != nil:
					case p.PID == busy.pid && hangs:
						select {
						case <-done:
						case <-ctx.Done():
							t.Error("the process that was forked had to wait")
						}
					case p.PID == busy.pid:
						return wait(ctx)
					case p.PID == f.Cmd.Process.Pid && tc.slow:
						// longer than what counts as slow: processes are listed before it forks
						time.Sleep(200 * time.Millisecond)
						f.visit(t, p.PID, 1)
					case f.visit(t, p.PID, 1) && p.PID != f.Cmd.Process.Pid:
						close(done)
					}
					return nil
				})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
