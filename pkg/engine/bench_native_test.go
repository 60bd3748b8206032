package engine_test

import (
	"context"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// BenchmarkNative applies a live patch to 200 processes without libpulp.so, and takes it out again,
// 200 times. cpu is the time of all CPUs that a change of all processes takes in this one, which
// other work on the machine changes least. idle is how late a sleeper of one millisecond wakes up
// in between.
func BenchmarkNative(b *testing.B) {
	cs := read(b, container(b, "a", 10))
	many, rounds := many(), benchtest.Size(200, 3)
	children := make([]*child, 0, many)
	for range cap(children) {
		children = append(children, start(b, "a", "", "benchnative"))
	}
	defer debug.SetGCPercent(debug.SetGCPercent(engine.GCPercent)) // as the commands do
	took := map[string][]time.Duration{}
	note := func(kind string, d time.Duration) { took[kind] = append(took[kind], d) }
	change := func(kind string, o engine.Options) {
		w := engine.NewWildcard("benchnative")
		o.Selector, o.Containers = engine.Selector{Name: &w}, cs
		o.Engines = []engine.Engine{&engine.Native{StopTimeout: 10 * time.Second}}
		began, used := time.Now(), cpuTime(b)
		sum, err := engine.Run(context.Background(), o, func(r *engine.Report) {
			note(kind+"-stop", r.Stop)
		})
		note(kind, time.Since(began))
		note(kind+"-cpu", cpuTime(b)-used)
		if err != nil || sum.Changed != many {
			b.Fatalf("%+v, %v", sum, err)
		}
	}
	for range rounds {
		change("apply", engine.Options{})
		for _, c := range children[:3] {
			c.says(tens10)
		}
		change("revert", engine.Options{Revert: true})
		began := time.Now()
		time.Sleep(time.Millisecond)
		note("idle", time.Since(began)-time.Millisecond)
	}
	for _, c := range children {
		c.says(unpatched)
	}
	for kind, unit := range map[string]time.Duration{
		"apply": time.Millisecond, "revert": time.Millisecond, "apply-cpu": time.Millisecond,
		"revert-cpu": time.Millisecond, "apply-stop": time.Microsecond,
		"revert-stop": time.Microsecond, "idle": time.Microsecond,
	} {
		d := took[kind]
		slices.Sort(d)
		name := map[time.Duration]string{time.Millisecond: "ms", time.Microsecond: "µs"}[unit]
		b.ReportMetric(float64(d[len(d)/2])/float64(unit), kind+"-"+name+"-median")
		b.ReportMetric(float64(d[len(d)*99/100])/float64(unit), kind+"-"+name+"-p99")
	}
	b.ReportMetric(0, "ns/op")
}

// cpuTime returns the time that this process has run so far, in user mode and in the kernel.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
