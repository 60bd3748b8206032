package inject

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// BenchmarkPlan is what happens before a process is stopped.
func BenchmarkPlan(b *testing.B) {
	lib := library(b, nopFlags)
	p := pack(b, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(b, target(b, lib), 0)
	for b.Loop() {
		if _, err := NewPlan(context.Background(), look(b, c.pid), Change{Apply: []*Patch{p}}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkList is the question what is applied to a process.
func BenchmarkList(b *testing.B) {
	lib := library(b, nopFlags)
	p := pack(b, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(b, target(b, lib), 0)
	c.apply(Options{}, p)
	for b.Loop() {
		if _, err := List(context.Background(), look(b, c.pid)); err != nil {
			b.Fatal(err)
		}
	}
}

// stopRuns is how often each kind of stop is measured.
const stopRuns = 250

// BenchmarkStop is how long a process stands still while a live patch of eight functions is applied and reverted, beside
// the floor: stopping all threads and letting them go (tracer.Run without work). Each kind takes its turn, so that they
// see the same noise. idle is how late a sleeper of one millisecond wakes up on this machine meanwhile.
func BenchmarkStop(b *testing.B) {
	lib := library(b, nopFlags)
	p := pack(b, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	for _, threads := range []int{2, 64} {
		b.Run(fmt.Sprintf("%dthreads", threads), func(b *testing.B) {
			c := start(b, target(b, lib), threads-1, "SPIN=1") // and the first one, which waits
			var floor, apply, revert, idle []time.Duration
			for range stopRuns {
				d, err := tracer.Run(context.Background(), c.pid, tracer.Options{StopTimeout: 10 * time.Second},
					func(*tracer.Tracee) error { return nil })
				if err != nil {
					b.Fatal(err)
				}
				floor = append(floor, d)
				apply = append(apply, c.apply(Options{StopTimeout: 10 * time.Second}, p).Stop)
				revert = append(revert, c.change(Change{Revert: everyOne}, Options{StopTimeout: 10 * time.Second}).Stop)
				began := time.Now()
				time.Sleep(time.Millisecond)
				idle = append(idle, time.Since(began)-time.Millisecond)
			}
			for _, m := range []struct {
				name string
				took []time.Duration
			}{{"floor", floor}, {"apply", apply}, {"revert", revert}, {"idle", idle}} {
				slices.Sort(m.took)
				b.ReportMetric(float64(m.took[len(m.took)/2].Microseconds()), m.name+"-µs-median")
				b.ReportMetric(float64(m.took[len(m.took)*99/100].Microseconds()), m.name+"-µs-p99")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
