package tracer

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSlots: of many processes that are to be stopped at the same time, no more stand still than
// there are CPUs.
func TestSlots(t *testing.T) {
	var now, most atomic.Int32
	var all sync.WaitGroup
	for range 3 * cap(slots) {
		c := startChecker(t, 1, "pause")
		all.Go(func() {
			for range 10 {
				_, err := Run(t.Context(), c.pid, Options{StopTimeout: 20 * time.Second},
					func(*Tracee) error {
						n := now.Add(1)
						for old := most.Load(); n > old &&
							!most.CompareAndSwap(old, n); old = most.Load() {
						}
						time.Sleep(time.Millisecond)
						now.Add(-1)
						return nil
					})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if int(most.Load()) > cap(slots) {
		t.Errorf("%d processes stood still at the same time, on %d CPUs", most.Load(), cap(slots))
	}
}

// TestUrgency: whoever holds a process that is stopped, or that is stopped as soon as it gets a
// signal, runs before others, but not for long.
func TestUrgency(t *testing.T) {
	c := startChecker(t, 1, "pause")
	seizing := uint32(unix.SCHED_NORMAL)
	step := func(name string) {
		if attr, err := unix.SchedGetAttr(0, 0); err == nil && name == "attach:seize" {
			seizing = attr.Policy
		}
	}
	policy := func(wait func()) (policy uint32) {
		_, err := Run(t.Context(), c.pid, Options{StopTimeout: 20 * time.Second, step: step},
			func(*Tracee) error {
				wait()
				attr, err := unix.SchedGetAttr(0, 0)
				if err == nil {
					policy = attr.Policy
				}
				return err
			})
		if err != nil {
			t.Fatal(err)
		}
		return policy
	}
	if p := policy(func() {}); p != unix.SCHED_FIFO {
		t.Skipf("policy %d: needs CAP_SYS_NICE", p)
	}
	if seizing != unix.SCHED_FIFO {
		t.Errorf("policy %d when the first thread is seized", seizing)
	}
	if p := policy(func() { time.Sleep(10 * priorityMost) }); p != unix.SCHED_NORMAL {
		t.Errorf("policy %d after a long time, want the usual one", p)
	}
}
