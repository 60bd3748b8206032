package realtest

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
)

// canBench reports whether this machine has what the benchmarks need.
func canBench() bool {
	_, err := exec.LookPath("nginx")
	_, noLibc := os.Stat(libcPath)
	return os.Geteuid() == 0 && err == nil && noLibc == nil
}

// BenchmarkClients compares how long the clients of real servers wait for answers while nothing
// happens and while a live patch is applied and reverted 30 times. The aim is a p99.9 of at most
// 1.5 times the baseline. "idle" clients ask 500 times a second together, and their time counts
// from when a request was due; "loaded" ones ask again as soon as they have an answer.
func BenchmarkClients(b *testing.B) {
	if os.Getenv(inside) == "" {
		b.Skip("needs root, and nginx, Redis and PostgreSQL of Debian: run \"make deps-real\"")
	}
	port := 21_000
	for _, p := range programs[:3] {
		for _, load := range []struct {
			name     string
			interval time.Duration
			answers  int64
		}{{"idle", clients * 2 * time.Millisecond, int64(benchtest.Size(5000, 100))},
			{"loaded", 0, int64(benchtest.Size(20_000, 200))}} {
			port++
			b.Run(p.name+"/"+load.name, func(b *testing.B) {
				s := p.start(b, port)
				list := s.connect(b)
				l := begin(list, load.interval, 0)
				l.more(b, load.answers)
				base := l.stop(b)
				l = begin(list, load.interval, len(base))
				for range benchtest.Size(cycles, 3) {
					change(b, s.cmd.Process.Pid, "trigger")
					l.more(b, load.answers/cycles/2)
					change(b, s.cmd.Process.Pid, "revert")
					l.more(b, load.answers/cycles/2)
				}
				cycled := l.stop(b)
				for _, c := range list {
					c.close()
				}
				for name, permille := range map[string]int{"p50": 500, "p99": 990, "p99.9": 999} {
					b.ReportMetric(float64(base.at(permille).Microseconds()), name+"-µs-before")
					b.ReportMetric(float64(cycled.at(permille).Microseconds()), name+"-µs-cycles")
					b.ReportMetric(float64(cycled.at(permille))/float64(base.at(permille)),
						name+"-ratio")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
