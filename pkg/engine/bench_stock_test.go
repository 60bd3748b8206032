package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// BenchmarkStock plans a live patch of the distribution's own libc for 4,000 processes. The proof
// that its functions can have a jump is made once: first is the CPU time for a run over one
// process, each that for one more. Goals: each is at most a tenth of first, all of them take 3 s,
// and 64 MiB at most.
func BenchmarkStock(b *testing.B) {
	file := stockContainer(b)
	for b.Loop() {
		many := benchtest.Size(4000, 50)
		sleepers := make([]*exec.Cmd, 0, many)
		for range many {
			s := exec.Command("sleep", "3600")
			if err := s.Start(); err != nil {
				b.Fatal(err)
			}
			sleepers = append(sleepers, s)
		}
		run := func(pid int) (cpu, took time.Duration, kib int) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "ENGINE_TEST_JOB=stock", "ENGINE_TEST_FILE="+file,
				"ENGINE_TEST_PID="+strconv.Itoa(pid))
			out, err := cmd.CombinedOutput()
			if _, scanErr := fmt.Sscan(string(out), &cpu, &took, &kib); err != nil ||
				scanErr != nil {
				b.Fatalf("%v: %s", err, out)
			}
			return cpu, took, kib
		}
		first, _, _ := run(sleepers[0].Process.Pid)
		all, took, kib := run(0)
		for _, s := range sleepers {
			_ = s.Process.Kill()
			_ = s.Wait()
		}
		each := (all - first) / time.Duration(many-1)
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(float64(kib)/1024, "MiB-peak")
		b.ReportMetric(float64(first.Microseconds())/1000, "first-cpu-ms")
		b.ReportMetric(float64(each.Microseconds())/1000, "each-cpu-ms")
		b.ReportMetric(float64(each)/float64(first), "each/first")
	}
	b.ReportMetric(0, "ns/op")
}

// stockContainer packs a live patch for the libc of this machine.
func stockContainer(b *testing.B) string {
	libc, err := filepath.EvalSymlinks("/lib/x86_64-linux-gnu/libc.so.6")
	if err != nil {
		libc, err = filepath.EvalSymlinks("/lib64/libc.so.6")
	}
	must(b, err)
	plain := gcc(b, "plain10.so", "container.c", "-shared", "-fPIC", "-Wl,--build-id", "-DTENS=10")
	path := filepath.Join(b.TempDir(), "libc_livepatch1.so")
	image, err := targettest.Pack(plain, path, libc, ulp.PackOptions{Force: true}, "malloc:one_lp",
		"getenv:two_lp")
	must(b, err)
	must(b, os.WriteFile(path, image, 0o600))
	return path
}

func init() { jobs["stock"] = stockJob }

// stockJob plans for the process that is named, or for all, and prints its CPU time, wall time and
// peak memory in KiB.
func stockJob() int {
	debug.SetGCPercent(engine.GCPercent)
	cs, err := engine.ReadContainers(context.Background(), []string{os.Getenv("ENGINE_TEST_FILE")},
		false)
	if err != nil {
		return 1
	}
	pid, _ := strconv.Atoi(os.Getenv("ENGINE_TEST_PID"))
	w := engine.NewWildcard("sleep")
	o := engine.Selector{Name: &w}
	if pid != 0 {
		o = engine.Selector{PID: pid}
	}
	began := time.Now()
	sum, err := engine.Run(context.Background(), engine.Options{Selector: o, DryRun: true,
		Containers: cs, Engines: []engine.Engine{&engine.Native{Entries: symtab.EntriesAny}}}, nil)
	took := time.Since(began)
	var used unix.Rusage
	if err != nil || sum.Changed == 0 || unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
		fmt.Printf("%+v %v", sum, err)
		return 1
	}
	fmt.Println(used.Utime.Nano()+used.Stime.Nano(), int64(took), used.Maxrss)
	return 0
}
