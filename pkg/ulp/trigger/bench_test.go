package trigger_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// many is how many processes the benchmarks work on.
func many() int { return benchtest.Size(200, 20) }

// crowd starts processes of one name, with libpulp's own libpulp.so if there is one. It lasts as long as the benchmark.
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

// tool runs libpulp's tool, if LPBUILD_LIBPULP_TOOL names it, and returns how long it took; 0 without it.
func tool(b *testing.B, args ...string) time.Duration {
	b.Helper()
	path := os.Getenv("LPBUILD_LIBPULP_TOOL")
	if path == "" {
		return 0
	}
	began := time.Now()
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %v\n%s", args, err, out)
	}
	return time.Since(began)
}

// BenchmarkStatus is what "lpbuild status" does over 200 processes, beside "ulp patches" of libpulp's tool.
func BenchmarkStatus(b *testing.B) {
	_, which := crowd(b, "benchstatus")
	name := trigger.NewWildcard("benchstatus")
	o := trigger.SurveyOptions{Selector: trigger.Selector{Name: &name}, Backends: []trigger.Backend{&trigger.Libpulp{}}}
	for b.Loop() {
		list, _, err := trigger.Look(context.Background(), o)
		if err != nil || len(list) != many() {
			b.Fatal(len(list), err)
		}
	}
	ours := b.Elapsed() / time.Duration(b.N)
	b.ReportMetric(float64(ours.Microseconds())/1000, "ms/200-"+which)
	if which == "libpulp" {
		report(b, ours, tool(b, "patches", "-p", "benchstatus"))
	}
}

// BenchmarkTrigger applies a live patch to 200 processes that had none before, beside libpulp's tool with 200 others.
func BenchmarkTrigger(b *testing.B) {
	file := container(b, "a", 10)
	cs := read(b, file)
	var ours, theirs, stop time.Duration
	which := ""
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		name := fmt.Sprintf("benchours%d", n)
		var children []*child
		children, which = crowd(b, name)
		w := trigger.NewWildcard(name)
		began := time.Now()
		b.StartTimer()
		sum, err := trigger.Run(context.Background(), trigger.Options{
			Selector: trigger.Selector{Name: &w}, Backends: []trigger.Backend{&trigger.Libpulp{}}, Containers: cs,
		}, nil)
		b.StopTimer()
		ours += time.Since(began)
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
			theirs += tool(b, "trigger", "-r", "100", "-p", name, file)
		}
		for _, c := range children {
			c.says(tens10)
			c.Kill()
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(ours.Microseconds())/1000/float64(b.N), "ms/200-"+which)
	b.ReportMetric(float64(stop.Microseconds()), "µs-longest-stop")
	if which == "libpulp" {
		report(b, ours/time.Duration(b.N), theirs/time.Duration(b.N))
	}
}

// report adds how we compare with libpulp's tool.
func report(b *testing.B, ours, theirs time.Duration) {
	if theirs == 0 {
		b.Log("skipped: libpulp's tool: LPBUILD_LIBPULP_TOOL does not name it")
		return
	}
	b.ReportMetric(float64(theirs.Microseconds())/1000, "ms/200-their-tool")
	b.ReportMetric(float64(ours)/float64(theirs), "ours/theirs")
}

// BenchmarkMemory is the memory of the engine over 4,000 processes.
func BenchmarkMemory(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TRIGGER_TEST_JOB=memory", "TRIGGER_TEST_FILE="+container(b, "a", 10))
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
	cs, err := trigger.ReadContainers(context.Background(), []string{os.Getenv("TRIGGER_TEST_FILE")}, false)
	if err != nil {
		return 1
	}
	if _, err := trigger.Run(context.Background(), trigger.Options{Backends: []trigger.Backend{&trigger.Libpulp{}}, Containers: cs}, nil); err != nil {
		return 1
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 1
	}
	fmt.Print(peak(string(status)))
	return 0
}
