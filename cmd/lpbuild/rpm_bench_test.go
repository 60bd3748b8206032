package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/benchtest"
)

// BenchmarkPost installs and upgrades live patches with real rpm where 200 processes run with two
// builds of the library. post-s is what the scriptlet adds to the transaction: the aim is less than
// a second.
func BenchmarkPost(b *testing.B) {
	dir := enter(b, usePackages)
	if dir == "" {
		return
	}
	s := newSystem(b, dir, "machine")
	s.settle(dir, "bash", "lpbuild-engine")
	rounds := benchtest.Size(5, 1)
	all := s.crowd()
	patched := fmt.Sprintf("patched: %d", len(all))
	var with, without []float64
	for range rounds {
		s.config("")
		for _, v := range []struct{ version, says string }{{first, saysFirst},
			{second, saysSecond}} {
			took, out := s.timed(rpmOfKind(dir, "v2", v.version))
			counts(b, out, patched, "Failed: 0.")
			say(all, v.says)
			with = append(with, took)
		}
		s.config("LIVEPATCH_GLIBC=never\n")
		took, _ := s.timed(rpmOfKind(dir, "v2", first))
		without = append(without, took)
	}
	b.ReportMetric(median(with), "transaction-s")
	b.ReportMetric(median(with)-median(without), "post-s")
}

// BenchmarkPostStuck does so where one more process waits in the kernel for a child of vfork, which
// has the same memory, and cannot be stopped: the transaction takes no longer than the deadline, 30
// s, and names the process that is left alone.
func BenchmarkPostStuck(b *testing.B) {
	dir := enter(b, usePackages)
	if dir == "" {
		return
	}
	s := newSystem(b, dir, "machine")
	s.settle(dir, "bash", "lpbuild-engine")
	all := s.crowd()
	stuck := s.service(serviceBuilds[0], "FAKE=vfork")
	defer func() { _ = unix.Kill(stuck.PID, unix.SIGKILL) }()
	took, out := s.timed(rpmOfKind(dir, "v2", first))
	counts(b, out, fmt.Sprintf("patched: %d", len(all)), "Failed: 0.")
	prints(b, out, fmt.Sprintf("skipped: service (%d)", stuck.PID))
	say(all, saysFirst)
	b.ReportMetric(took, "transaction-s")
}

// crowd starts 200 services, with two builds of the library.
func (s *scratch) crowd() []*live {
	s.t.Helper()
	all := make([]*live, benchtest.Size(200, 20))
	for i := range all {
		all[i] = s.service(serviceBuilds[i%2])
	}
	return all
}

// timed installs an RPM, whatever is there, and returns how many seconds that took and what it
// printed.
func (s *scratch) timed(rpm string) (float64, string) {
	s.t.Helper()
	begin := time.Now()
	out := s.strict("-U", "--replacepkgs", "--oldpackage", rpm)
	return time.Since(begin).Seconds(), out
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
