package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// many is how many processes the benchmarks work on.
func many() int { return benchtest.Size(200, 20) }

// crowd starts processes of one name, with libpulp's own libpulp.so if there is one. It lasts as
// long as the benchmark.
func crowd(b *testing.B, name string) ([]*child, string) {
	b.Helper()
	libpulp, which := standIn(b), "standin"
	if list := flavours(b); list["libpulp"] != "" {
		libpulp, which = list["libpulp"], "libpulp"
	}
	children := make([]*child, many())
	var wg sync.WaitGroup
	library(b, "a")
	places := make(chan struct{}, 8)
	for i := range children {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			children[i] = start(b, "a", libpulp, name)
		})
	}
	wg.Wait()
	return children, which
}

// usage is what something took: wall time, and CPU time, which tells more on a busy machine.
type usage struct{ wall, cpu time.Duration }

// measure returns what f takes.
func measure(b *testing.B, f func()) usage {
	b.Helper()
	own := func() time.Duration {
		var used unix.Rusage
		must(b, unix.Getrusage(unix.RUSAGE_SELF, &used))
		return time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	began, before := time.Now(), own()
	f()
	return usage{time.Since(began), own() - before}
}

// tool runs libpulp's tool, if LPBUILD_LIBPULP_TOOL names it, and returns what it took; 0 without
// it.
func tool(b *testing.B, args ...string) usage {
	b.Helper()
	path := os.Getenv("LPBUILD_LIBPULP_TOOL")
	if path == "" {
		return usage{}
	}
	began := time.Now()
	cmd := exec.Command(path, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %v\n%s", args, err, out)
	}
	return usage{time.Since(began), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// BenchmarkStatus is what "lpbuild status" does over 200 processes, beside "ulp patches" of
// libpulp's tool.
func BenchmarkStatus(b *testing.B) {
	_, which := crowd(b, "benchstatus")
	name := engine.NewWildcard("benchstatus")
	o := engine.SurveyOptions{Selector: engine.Selector{Name: &name},
		Engines: []engine.Engine{&engine.Libpulp{}}}
	defer debug.SetGCPercent(debug.SetGCPercent(engine.GCPercent)) // as the commands do
	ours := measure(b, func() {
		for b.Loop() {
			list, _, err := engine.Look(context.Background(), o)
			if err != nil || len(list) != many() {
				b.Fatal(len(list), err)
			}
		}
	})
	var theirs usage
	if which == "libpulp" {
		theirs = tool(b, "patches", "-p", "benchstatus")
		theirs = usage{theirs.wall * time.Duration(b.N), theirs.cpu * time.Duration(b.N)}
	}
	report(b, which, ours, theirs)
}

// BenchmarkTrigger applies a live patch to 200 processes that had none before, beside libpulp's
// tool with 200 others. The goal is a ratio of 1 at most, and one third in the end.
func BenchmarkTrigger(b *testing.B) {
	file := container(b, "a", 10)
	cs := read(b, file)
	defer debug.SetGCPercent(debug.SetGCPercent(engine.GCPercent)) // as the commands do
	var ours, theirs usage
	var stop time.Duration
	add := func(sum *usage, u usage) { sum.wall, sum.cpu = sum.wall+u.wall, sum.cpu+u.cpu }
	which := ""
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		name := fmt.Sprintf("benchours%d", n)
		var children []*child
		children, which = crowd(b, name)
		w := engine.NewWildcard(name)
		var sum engine.Summary
		var err error
		b.StartTimer()
		add(&ours, measure(b, func() {
			sum, err = engine.Run(context.Background(), engine.Options{
				Selector: engine.Selector{Name: &w}, Engines: []engine.Engine{&engine.Libpulp{}},
				Containers: cs,
			}, nil)
		}))
		b.StopTimer()
		if err != nil || sum.Changed != many() {
			b.Fatalf("%+v, %v", sum, err)
		}
		stop = max(stop, sum.LongestStop)
		if which == "libpulp" && os.Getenv("LPBUILD_LIBPULP_TOOL") != "" {
			for _, c := range children {
				c.Kill()
			}
			name = fmt.Sprintf("benchtheirs%d", n)
			children, _ = crowd(b, name)
			add(&theirs, tool(b, "trigger", "-r", "100", "-p", name, file))
		}
		for _, c := range children {
			c.says(tens10)
			c.Kill()
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(stop.Microseconds()), "µs-longest-stop")
	report(b, which, ours, theirs)
}

// report reports what all runs took, and how we compare with libpulp's tool.
func report(b *testing.B, which string, ours, theirs usage) {
	b.ReportMetric(float64(ours.wall.Microseconds())/1000/float64(b.N), "ms/200-"+which)
	b.ReportMetric(float64(ours.cpu.Microseconds())/1000/float64(b.N), "cpu-ms/200-"+which)
	switch {
	case which != "libpulp":
	case theirs == usage{}:
		b.Log("skipped: libpulp's tool: LPBUILD_LIBPULP_TOOL does not name it")
	default:
		b.ReportMetric(float64(theirs.wall.Microseconds())/1000/float64(b.N), "ms/200-their-tool")
		b.ReportMetric(float64(ours.wall)/float64(theirs.wall), "ours/theirs")
		b.ReportMetric(float64(ours.cpu)/float64(theirs.cpu), "cpu-ours/theirs")
	}
}

// BenchmarkMemory is the memory of the engine over 4,000 processes.
func BenchmarkMemory(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ENGINE_TEST_JOB=memory", "ENGINE_TEST_FILE="+
		container(b, "a", 10))
	for b.Loop() {
		sleepers := make([]*exec.Cmd, 0, benchtest.Size(4000, 100))
		for range cap(sleepers) {
			s := exec.Command("sleep", "3600")
			if err := s.Start(); err != nil {
				b.Fatal(err)
			}
			sleepers = append(sleepers, s)
		}
		run := exec.Command(cmd.Path)
		run.Env = cmd.Env
		out, err := run.CombinedOutput()
		for _, s := range sleepers {
			_ = s.Process.Kill()
			_ = s.Wait()
		}
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		kib, _ := strconv.Atoi(string(out))
		b.ReportMetric(float64(kib)/1024, "MiB-peak")
	}
}

func init() { jobs["memory"] = memoryJob }

// memoryJob looks at all processes as a run does, and prints its peak memory in KiB.
func memoryJob() int {
	cs, err := engine.ReadContainers(context.Background(), []string{os.Getenv("ENGINE_TEST_FILE")},
		false)
	if err != nil {
		return 1
	}
	if _, err := engine.Run(context.Background(),
		engine.Options{Engines: []engine.Engine{&engine.Libpulp{}}, Containers: cs},
		nil); err != nil {
		return 1
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 1
	}
	fmt.Print(peak(string(status)))
	return 0
}
