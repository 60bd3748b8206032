package process_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// scan returns what Scan shows of each process.
func scan(t testing.TB, o process.ScanOptions) (map[int]*process.Process, map[int]error) {
	t.Helper()
	var mu sync.Mutex
	found, errs := make(map[int]*process.Process), make(map[int]error)
	err := process.Scan(t.Context(), o, func(_ context.Context, p *process.Process, err error) {
		mu.Lock()
		defer mu.Unlock()
		var le *process.LookError
		switch {
		case err == nil && found[p.PID] == nil:
			found[p.PID] = p
		case errors.As(err, &le):
			errs[le.PID] = err
		default:
			t.Errorf("visit(%+v, %v)", p, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, errs
}

func TestScanAll(t *testing.T) {
	a, b := start(t), start(t, "child")
	found, _ := scan(t, process.ScanOptions{})
	for _, pid := range []int{os.Getpid(), a.pid, b.pid, int(b.word)} {
		if found[pid] == nil {
			t.Errorf("process %d is missing in %d", pid, len(found))
		}
	}
}

func TestScanNamed(t *testing.T) {
	a, gone := start(t), start(t)
	gone.stop()
	found, errs := scan(t, process.ScanOptions{PIDs: []int{a.pid, gone.pid}})
	if len(found) != 1 || found[a.pid] == nil || len(errs) != 1 ||
		!errors.Is(errs[gone.pid], process.ErrGone) {
		t.Errorf("Scan: %v, %v", found, errs)
	}
	if found, errs := scan(t, process.ScanOptions{PIDs: []int{}}); len(found)+len(errs) != 0 {
		t.Errorf("Scan of no process: %v, %v", found, errs)
	}
}

func TestScanErrors(t *testing.T) {
	visit := func(context.Context, *process.Process, error) {}
	o := process.ScanOptions{Options: process.Options{Root: t.TempDir() + "/none"}}
	if err := process.Scan(t.Context(), o, visit); !errors.Is(err, process.ErrNoProc) {
		t.Errorf("Scan without proc: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	if err := process.Scan(ctx, process.ScanOptions{}, visit); !errors.Is(err, reason) {
		t.Errorf("Scan: %v, want %v", err, reason)
	}
}

// Visits that do not return hold up the others for a moment only, and end with their time.
func TestScanSlowVisits(t *testing.T) {
	var pids []int
	for range 6 {
		pids = append(pids, start(t).pid)
	}
	stuck := map[int]bool{pids[0]: true, pids[1]: true, pids[2]: true}
	begin := time.Now()
	var mu sync.Mutex
	var last time.Duration
	o := process.ScanOptions{PIDs: pids, Workers: 1, Timeout: time.Second}
	err := process.Scan(t.Context(), o, func(ctx context.Context, p *process.Process, _ error) {
		if stuck[p.PID] {
			<-ctx.Done()
			return
		}
		mu.Lock()
		defer mu.Unlock()
		last = max(last, time.Since(begin))
	})
	if took := time.Since(begin); err != nil || last > 600*time.Millisecond || took < time.Second ||
		took > 3*time.Second {
		t.Errorf("Scan: %v; the last quick visit after %v, all after %v", err, last, took)
	}
}

// Processes that change all the time: each is seen as it is, or named as gone or changed.
func TestScanRestless(t *testing.T) {
	var pids []int
	for _, mode := range []string{"exec", "fork", "churn"} {
		pids = append(pids, start(t, mode).pid)
	}
	seen := 0
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		var mu sync.Mutex
		err := process.Scan(t.Context(), process.ScanOptions{},
			func(ctx context.Context, p *process.Process, err error) {
				if err == nil {
					_, err = p.Libraries(ctx)
				}
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					seen++
				case errors.Is(err, process.ErrGone), errors.Is(err, process.ErrChanged),
					errors.Is(err, process.ErrNoMemory),
					errors.Is(err, process.ErrPermission):
				default:
					t.Errorf("visit: %v", err)
				}
			})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range pids {
		if p := look(t, pid); p.Name != "target" && p.Name != "exe" {
			t.Errorf("%+v", p)
		}
	}
	if seen == 0 {
		t.Error("no process was seen")
	}
}

// tinyProcesses starts n processes that have the patchable library and nothing else. They share
// their pipes, so that thousands do not need thousands of files.
func tinyProcesses(b *testing.B, n int) []int {
	b.Helper()
	lib := library(b, idA)
	path := compile(b, "tiny.c", "-nostdlib", "-DLIBRARY", "-fno-stack-protector", lib)
	dir := b.TempDir()
	copyFile(b, lib, filepath.Join(dir, "libtest.so.1"))
	stdin, end, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	ready, stdout, err := os.Pipe()
	if err != nil {
		b.Fatal(err)
	}
	pids := make([]int, n)
	for i := range pids {
		cmd := exec.Command(path)
		cmd.Env = []string{"LD_LIBRARY_PATH=" + dir}
		cmd.Stdin, cmd.Stdout = stdin, stdout
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			end.Close()
			_ = cmd.Wait()
		})
		pids[i] = cmd.Process.Pid
	}
	if _, err := io.ReadFull(ready, make([]byte, 2*n)); err != nil {
		b.Fatal(err)
	}
	for _, f := range []*os.File{stdin, ready, stdout} {
		f.Close()
	}
	return pids
}

// BenchmarkScan is what "status" does: looking at every process and reading the build-ids of its
// libraries.
func BenchmarkScan(b *testing.B) {
	for _, count := range []int{benchtest.Size(200, 10), benchtest.Size(1000, 50),
		benchtest.Size(4000, 200)} {
		b.Run(strconv.Itoa(count), func(b *testing.B) {
			pids := tinyProcesses(b, count)
			runtime.GC()
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				var mu sync.Mutex
				with := 0
				err := process.Scan(b.Context(), process.ScanOptions{PIDs: pids},
					func(ctx context.Context, p *process.Process, err error) {
						if err != nil {
							b.Error(err)
							return
						}
						list, err := p.Libraries(ctx)
						if err != nil {
							b.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						for _, l := range list {
							if l.SONAME == "libtest.so.1" && len(l.BuildID) == 20 {
								with++
							}
						}
					})
				if err != nil || with != count {
					b.Fatalf("%v; %d of %d processes have the library", err, with, count)
				}
			}
			b.StopTimer()
			b.ReportMetric(residentMiB(b, os.Getpid()), "MiB-resident")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*count), "µs/process")
		})
	}
}

// TestScanNoProc tells a machine without processes, which there is none of, from a proc that is not
// mounted.
func TestScanNoProc(t *testing.T) {
	root := t.TempDir()
	err := process.Scan(t.Context(), process.ScanOptions{Options: process.Options{Root: root}},
		func(context.Context, *process.Process, error) {
			t.Error("a process in an empty directory")
		})
	if !errors.Is(err, process.ErrNoProc) || err.Error() != root+": "+process.ErrNoProc.Error() {
		t.Errorf("error is %v, want ErrNoProc", err)
	}
}
