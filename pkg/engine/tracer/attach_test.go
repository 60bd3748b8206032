package tracer

import (
	"testing"
)

func TestAttachDetach(t *testing.T) {
	for threads, rounds := range map[int]int{1: 50, 64: 5} {
		c := startChecker(t, threads, map[bool]string{true: "pause", false: "spin"}[threads > 1])
		for range rounds {
			tr := attach(t, c.pid, Options{})
			if got := len(tr.Threads()); got != threads {
				t.Fatalf("%d threads, want %d", got, threads)
			}
			before := make([]uint64, threads)
			for n := range threads {
				before[n] = c.count(n)
			}
			for _, th := range tr.Threads() {
				if state, _ := stat(t, c.pid, th.TID); state != "t" || th.PC() == 0 ||
					th.SP() == 0 || th.GroupStop {
					t.Errorf("thread %d: state %s, pc %#x, sp %#x, group stop %v", th.TID, state,
						th.PC(), th.SP(), th.GroupStop)
				}
			}
			for n := range threads {
				if c.count(n) != before[n] {
					t.Errorf("thread %d still counts", n)
				}
			}
			detach(t, tr)
			detach(t, tr)
			if tr.StopTime() <= 0 {
				t.Error("no stop time")
			}
		}
		c.goesOn()
	}
}

func TestSyscalls(t *testing.T) {
	for threads, rounds := range map[int]int{1: 50, 64: 5} {
		c := startChecker(t, threads, map[bool]string{true: "pause", false: "spin"}[threads > 1])
		g := gadgets(t, c.pid)
		for range rounds {
			tr := attach(t, c.pid, Options{Gadgets: g})
			for _, th := range tr.Threads()[:min(threads, 3)] {
				got, err := tr.Syscalls(t.Context(), th, Call{Nr: 39}, Call{Nr: 186},
					Call{Nr: 9999}, Call{Nr: 39})
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != 3 || got[0].Value != uint64(c.pid) ||
					got[1].Value != uint64(th.TID) || got[2].Err() == nil {
					t.Fatalf("getpid, gettid, no such call: %+v", got)
				}
			}
			detach(t, tr)
		}
		c.goesOn()
	}
}
