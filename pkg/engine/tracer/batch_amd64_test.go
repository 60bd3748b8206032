package tracer

import (
	"context"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBatch: several calls in one go, each of which uses what an earlier one returned, in a thread
// whose registers are all in use and in one that sleeps; and what is there when the first one
// fails.
func TestBatch(t *testing.T) {
	for _, how := range []string{"spin", "pause", "handler"} {
		c := startChecker(t, 2, how)
		o := Options{Gadgets: gadgets(t, c.pid)}
		for range 20 {
			tr := attach(t, c.pid, o)
			for _, th := range tr.Threads() {
				r, err := tr.Batch(context.Background(), th, []byte("x\x00"), memoryFile)
				if how != "spin" && errors.Is(err, ErrNoBatch) {
					continue // a system call whose remaining time would be forgotten
				}
				if err != nil || len(r) != 6 || r[0].Value != uint64(c.pid) {
					t.Fatalf("%s: %+v %v", how, r, err)
				}
				if slices.ContainsFunc(r, func(r Result) bool { return r.Errno != 0 }) {
					t.Errorf("%s: %+v", how, r)
				}
				r, err = tr.Batch(context.Background(), th, nil, func(uint64) []BatchCall {
					return memoryFile(1)
				})
				if how != "spin" && errors.Is(err, ErrNoBatch) {
					continue
				}
				if err != nil || r[1].Errno != unix.EFAULT || r[2].Errno != unix.EBADF ||
					r[5].Errno != unix.EBADF {
					t.Errorf("%s: %+v %v", how, r, err)
				}
			}
			detach(t, tr)
			c.goesOn()
		}
	}
}

// TestNoBatch: without the gadget nothing happens.
func TestNoBatch(t *testing.T) {
	c := startChecker(t, 1, "spin")
	g := gadgets(t, c.pid)
	g.Keep = 0
	tr := attach(t, c.pid, Options{Gadgets: g})
	if _, err := tr.Batch(context.Background(), tr.Threads()[0], nil,
		memoryFile); !errors.Is(err, ErrNoBatch) {
		t.Error(err)
	}
	detach(t, tr)
	c.goesOn()
}
