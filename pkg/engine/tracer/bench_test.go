package tracer

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/benchtest"
)

// BenchmarkStop compares how long a process is stopped: the floor (seize, interrupt, wait, detach
// of all threads and nothing else), Attach and Detach, and these with a system call or with a
// called function between. It reports the median. One target spins in all threads; with 64 threads
// another one sleeps, which is what most processes do.
func BenchmarkStop(b *testing.B) {
	for _, target := range []struct {
		threads int
		how     string
	}{{1, "spin"}, {64, "spin"}, {64, "pause"}} {
		c := startChecker(b, target.threads, target.how)
		o := Options{Gadgets: gadgets(b, c.pid), StopTimeout: 10 * time.Second}
		first := func(f func(*Tracee, *Thread) error) func() (time.Duration, error) {
			return func() (time.Duration, error) {
				return Run(context.Background(), c.pid, o, func(tr *Tracee) error {
					return f(tr, tr.Threads()[0])
				})
			}
		}
		for _, bm := range []struct {
			name string
			f    func() (time.Duration, error)
		}{
			{"floor", func() (time.Duration, error) { return floor(c.pid) }},
			{"attach", first(func(*Tracee, *Thread) error { return nil })},
			{"syscall", first(func(tr *Tracee, th *Thread) error {
				_, err := tr.Syscalls(context.Background(), th, Call{Nr: unix.SYS_GETPID})
				return err
			})},
			{"10syscalls", first(func(tr *Tracee, th *Thread) error {
				_, err := tr.Syscalls(context.Background(), th,
					slices.Repeat([]Call{{Nr: unix.SYS_GETPID}}, 10)...)
				return err
			})},
			{"call", first(func(tr *Tracee, th *Thread) error {
				_, err := tr.Call(context.Background(), th, c.sum)
				return err
			})},
		} {
			b.Run(fmt.Sprintf("%d%s/%s", target.threads, target.how, bm.name), func(b *testing.B) {
				var took []time.Duration
				for range max(b.N, benchtest.Size(200, 5)) {
					d, err := bm.f()
					if err != nil {
						b.Fatal(err)
					}
					took = append(took, d)
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
				b.ReportMetric(0, "ns/op")
			})
		}
		_ = c.Cmd.Process.Kill()
	}
}

// storm is how many processes execute programs while BenchmarkStorm stops another one.
const storm = 12

// BenchmarkStorm is BenchmarkStop for a process of one thread that has to share the CPUs with many
// others, which execute programs all the time; and for comparison without those. The floor is
// measured in turns with the rest.
func BenchmarkStorm(b *testing.B) {
	for _, others := range []int{0, storm} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			c := startChecker(b, 1, "spin")
			defer func() { _ = c.Cmd.Process.Kill() }()
			o := Options{Gadgets: gadgets(b, c.pid), StopTimeout: 10 * time.Second}
			if others > 0 {
				s := start(b, program(b, "execs"), fmt.Sprint(others))
				defer func() { _ = s.Cmd.Process.Kill() }()
			}
			var least, took []time.Duration
			for range max(b.N, 1000) {
				d, err := floor(c.pid)
				if err != nil {
					b.Fatal(err)
				}
				least = append(least, d)
				d, err = Run(context.Background(), c.pid, o, func(tr *Tracee) error {
					_, err := tr.Syscalls(context.Background(), tr.Threads()[0],
						Call{Nr: unix.SYS_GETPID})
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
				took = append(took, d)
			}
			slices.Sort(least)
			slices.Sort(took)
			for _, at := range []int{50, 99} {
				b.ReportMetric(float64(least[len(least)*at/100].Microseconds()),
					fmt.Sprintf("µs-floor-p%d", at))
				b.ReportMetric(float64(took[len(took)*at/100].Microseconds()),
					fmt.Sprintf("µs-p%d", at))
			}
			b.ReportMetric(float64(took[len(took)*99/100])/float64(least[len(least)*99/100]),
				"floors-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// floor is the least that stopping a process takes.
func floor(pid int) (d time.Duration, err error) {
	tids, err := tasks(pid)
	if err != nil {
		return 0, err
	}
	w := startWorker()
	defer w.end(false)
	w.do(func() {
		began := time.Now()
		for _, tid := range tids {
			if err = ptrace(unix.PTRACE_SEIZE, tid, 0); err == nil {
				err = ptrace(unix.PTRACE_INTERRUPT, tid, 0)
			}
		}
		for _, tid := range tids {
			for b := (backoff{}); peek(tid).kind == running; b.pause() {
			}
		}
		for _, tid := range tids {
			d = time.Since(began)
			_ = ptrace(unix.PTRACE_DETACH, tid, 0)
		}
	})
	return d, err
}
