package libpulp_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// BenchmarkEngine measures, for each libpulp.so, how long a process is stopped while a patch is
// applied, what of that libpulp.so needs itself (the call, less what a call of next to nothing
// costs), and what the engine adds to it. For comparison, "check" is the stop for that call alone.
func BenchmarkEngine(b *testing.B) {
	lib := library(b, false)
	p, path := container(b, lib, 10, all...)
	for _, f := range flavours(b) {
		if f.old {
			continue
		}
		for _, threads := range []int{0, 63} {
			b.Run(f.name+"/"+strconv.Itoa(threads+1), func(b *testing.B) {
				benchEngine(b, f, lib, p, path, threads)
			})
		}
	}
}

func benchEngine(b *testing.B, f flavour, lib string, p *libpulp.Patch, path string, threads int) {
	c := start(b, lib, f, "pause", "-"+strconv.Itoa(threads))
	var stop, inside, added, empty, check []time.Duration
	for range benchtest.Size(100, 5) {
		// a function that has next to nothing to do: what calling costs
		r := c.find()
		libpulp.SpentInCalls(func(d time.Duration) { empty = append(empty, d) })
		d, err := r.Stop(b.Context(), tracer.Options{StopTimeout: 10 * time.Second},
			func(s *libpulp.Session) error {
				_, err := s.Check(b.Context(), p.ID())
				return err
			})
		must(b, "check", err)
		check = append(check, d)
		r.Close()
	}
	slices.Sort(empty)
	for range max(b.N, benchtest.Size(100, 5)) {
		r := c.find()
		plan, err := r.PlanApply(b.Context(), p, path)
		must(b, "plan", err)
		var call time.Duration
		libpulp.SpentInCalls(func(d time.Duration) { call += d })
		d, err := r.Stop(b.Context(), tracer.Options{StopTimeout: 10 * time.Second},
			func(s *libpulp.Session) error { return s.Do(b.Context(), plan) })
		must(b, "apply", err)
		call -= empty[len(empty)/2]
		stop, inside, added = append(stop, d), append(inside, call), append(added, d-call)
		r.Close()
		must(b, "revert", c.revert(p))
	}
	for name, list := range map[string][]time.Duration{"stop": stop, "libpulp": inside,
		"added": added, "check": check} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds()), "µs-"+name)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkLook measures finding libpulp.so and listing what is applied, without stopping the
// process.
func BenchmarkLook(b *testing.B) {
	lib := library(b, false)
	p, path := container(b, lib, 10, all...)
	for _, f := range flavours(b) {
		c := start(b, lib, f, "")
		must(b, "apply", c.apply(p, path))
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				r, err := findIn(b.Context(), c.pid)
				must(b, "find", err)
				_, err = r.State(b.Context())
				must(b, "state", err)
				_, err = r.Applied(b.Context())
				must(b, "applied", err)
				r.Close()
			}
		})
	}
	c := start(b, lib, flavour{}, "")
	b.Run("none", func(b *testing.B) {
		for b.Loop() {
			if _, err := findIn(b.Context(), c.pid); err == nil {
				b.Fatal("found")
			}
		}
	})
}
