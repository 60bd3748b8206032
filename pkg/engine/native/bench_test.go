package native

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// BenchmarkPlan is what happens before a process is stopped.
func BenchmarkPlan(b *testing.B) {
	lib := library(b, nopFlags)
	p := pack(b, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(b, target(b, lib), 0)
	for b.Loop() {
		if _, err := newPlan(context.Background(), look(b, c.pid), Change{Apply: []*Patch{p}},
			Options{}); err != nil {
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
func stopRuns() int { return benchtest.Size(200, 5) }

// BenchmarkStop is how long a process is stopped while a live patch of eight functions is applied
// and reverted, beside the floor: seize, interrupt, wait, detach, and nothing else. All kinds take
// turns, so that they see the same noise.
//
// The process of one thread measures itself: the longest time in which it did not get on. That
// holds everything, the way back to its CPU included. idle is the same while nothing is done to it.
// The process of 64 threads cannot see that; there it is the engine that measures, and idle is how
// late a sleeper of one millisecond wakes up meanwhile.
func BenchmarkStop(b *testing.B) {
	lib := library(b, nopFlags)
	p := pack(b, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	o := Options{StopTimeout: 10 * time.Second}
	b.Run("1thread", func(b *testing.B) {
		c := start(b, spinner(b, lib), 1)
		m := newStops(b)
		for range stopRuns() {
			m.add("floor", c.standstill(func() { floor(b, c.pid) }))
			m.add("apply", c.standstill(func() { c.apply(o, p) }))
			m.add("revert", c.standstill(func() { c.change(Change{Revert: everyOne}, o) }))
			m.add("idle", c.standstill(func() { time.Sleep(time.Millisecond) }))
		}
		m.report()
	})
	b.Run("64threads", func(b *testing.B) {
		c := start(b, target(b, lib), 63, "SPIN=1") // and the first one, which waits
		m := newStops(b)
		for range stopRuns() {
			m.add("floor", floor(b, c.pid))
			m.add("apply", c.apply(o, p).Stop)
			m.add("revert", c.change(Change{Revert: everyOne}, o).Stop)
			began := time.Now()
			time.Sleep(time.Millisecond)
			m.add("idle", time.Since(began)-time.Millisecond)
		}
		m.report()
	})
}

// stops are what was measured, by kind.
type stops struct {
	b    *testing.B
	took map[string][]time.Duration
}

func newStops(b *testing.B) *stops { return &stops{b, map[string][]time.Duration{}} }

func (m *stops) add(kind string, d time.Duration) { m.took[kind] = append(m.took[kind], d) }

// report adds medians and 99th percentiles, and the ratios of the medians to the floor's.
func (m *stops) report() {
	median := map[string]float64{}
	for kind, took := range m.took {
		slices.Sort(took)
		median[kind] = float64(took[len(took)/2].Nanoseconds()) / 1000
		m.b.ReportMetric(median[kind], kind+"-µs-median")
		m.b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, kind+"-µs-p99")
	}
	for _, kind := range []string{"apply", "revert"} {
		m.b.ReportMetric(median[kind]/median["floor"], kind+"/floor")
	}
	m.b.ReportMetric(0, "ns/op")
}

// standstill returns the longest time in which the spinner did not get on while f ran, and until it
// did again.
func (c *child) standstill(f func()) time.Duration {
	const looks, longest = 16, 24
	word := func(at int) uint64 { return binary.NativeEndian.Uint64(c.page[at:]) }
	more := func() {
		for before := word(looks); word(looks) < before+100; {
			time.Sleep(20 * time.Microsecond)
		}
	}
	more()
	binary.NativeEndian.PutUint64(c.page[longest:], 0)
	f()
	more()
	return time.Duration(word(longest))
}

// floor stops all threads of a process and lets them go, with as little as that takes, and returns
// how long it was.
func floor(b *testing.B, pid int) time.Duration {
	took := make(chan time.Duration)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		began := time.Now()
		for _, e := range entries {
			tid, _ := strconv.Atoi(e.Name())
			if unix.PtraceSeize(tid) != nil || unix.PtraceInterrupt(tid) != nil {
				took <- -1
				return
			}
		}
		for _, e := range entries {
			tid, _ := strconv.Atoi(e.Name())
			for n := 0; n == 0; {
				n, _ = unix.Wait4(tid, nil, unix.WALL|unix.WNOHANG, nil)
			}
		}
		for _, e := range entries {
			tid, _ := strconv.Atoi(e.Name())
			_ = unix.PtraceDetach(tid)
		}
		took <- time.Since(began)
	}()
	d := <-took
	if d < 0 {
		b.Fatal("the process cannot be stopped")
	}
	return d
}
