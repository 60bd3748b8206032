package libpulp_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// tryApply plans and applies once.
func (c *child) tryApply(ctx context.Context, p *libpulp.Patch, path string) error {
	r := c.find()
	defer r.Close()
	return once(ctx, r.Runtime, func(r *libpulp.Runtime) (*libpulp.Plan, error) {
		return r.PlanApply(ctx, p, path)
	})
}

// TestRefused has a libpulp.so that fails in the middle, or asks for what the patch does not need:
// the code stays as it was, the patch is not on its list any more, and it goes on working.
func TestRefused(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	for mode, want := range map[string]error{
		"elsewhere": libpulp.ErrRefused, "wrong": libpulp.ErrRefused, "extra": libpulp.ErrRefused,
		"missing": libpulp.ErrRefused,
		"torn":    libpulp.ErrMalformed, "half 278": libpulp.ErrNotPatchable,
		"half 256": libpulp.ErrUnknown, "code 287": libpulp.ErrDlopen,
		"code 270": libpulp.ErrState,
	} {
		c := start(t, lib, flavour{path: standIn(t)}, mode, "1")
		for range 2 {
			err := c.tryApply(t.Context(), p, path)
			mustNot(t, mode, err, want)
			if errors.Is(err, libpulp.ErrUnfinished) {
				t.Errorf("%s: not undone: %v", mode, err)
			}
			c.says("1 2 3 107")
			if list := c.applied(); len(list) != 0 {
				t.Errorf("%s: applied: %+v", mode, list)
			}
			if s, err := c.find().State(t.Context()); err != nil || !s.Enabled() || s.Pending != 0 {
				t.Errorf("%s: state %+v, %v", mode, s, err)
			}
		}
	}
}

// TestLeftOver has a queue with a write that no patch needs: it is not carried out.
func TestLeftOver(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	c := start(t, lib, flavour{path: standIn(t)}, "left")
	for range 2 {
		err := c.tryApply(t.Context(), p, path)
		mustNot(t, "left over", err, libpulp.ErrRefused)
		mustNot(t, "left over", err, libpulp.ErrQueue)
		c.says("1 2 3 107")
	}
}

// TestHalfOld is TestRefused for a version that writes the code itself.
func TestHalfOld(t *testing.T) {
	lib := library(t, true)
	p, path := container(t, lib, 10, all...)
	c := start(t, lib, flavours(t)[1], "half 278")
	mustNot(t, "half", c.tryApply(t.Context(), p, path), libpulp.ErrNotPatchable)
	c.says("1 2 3 107")
}

// TestWildList has lists of patches that are none: the engine says so. It changes nothing unless
// the entry of the patch is as it should be.
func TestWildList(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	for mode, want := range map[string]error{"cycle": nil, "garbage": libpulp.ErrUnfinished,
		"endless": nil} {
		c := start(t, lib, flavour{path: standIn(t)}, mode)
		mustNot(t, mode, c.tryApply(t.Context(), p, path), want)
		c.says(map[bool]string{true: "10 20 3 1107", false: "1 2 3 107"}[want == nil])
		r := c.find()
		if _, err := r.Applied(t.Context()); !errors.Is(err, libpulp.ErrState) ||
			!errors.Is(err, libpulp.ErrMalformed) && !errors.Is(err, process.ErrUnreadable) {
			t.Errorf("%s: %v", mode, err)
		}
		if _, err := r.PlanApply(t.Context(), p, path); err == nil {
			t.Errorf("%s: a second plan", mode)
		}
	}
}

func TestMessages(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	for _, f := range flavours(t) {
		c := start(t, lib, f, "")
		must(t, "apply", c.apply(p, path))
		b, err := c.find().Messages(t.Context())
		if err != nil || len(b) == 0 || b[len(b)-1] != 0 || !f.real &&
			string(b) != "loaded\n\x00done\n\x00" {
			t.Errorf("%s: %q, %v", f.name, b, err)
		}
	}
	c := start(t, lib, flavour{path: standIn(t)}, "ring")
	_, err := c.find().Messages(t.Context())
	mustNot(t, "ring", err, libpulp.ErrMalformed)
}

func TestLaterQueue(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	c := start(t, lib, flavour{path: standIn(t)}, "newer")
	mustNot(t, "apply", c.apply(p, path), libpulp.ErrOldTool)
}

// TestCrash has libpulp.so crash in the call: the process goes on as before.
func TestCrash(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	c := start(t, lib, flavour{path: standIn(t)}, "crash", "2")
	mustNot(t, "apply", c.tryApply(t.Context(), p, path), tracer.ErrFault)
	c.says("1 2 3 107")
}

// TestBusy has libpulp.so say three times that the process is busy.
func TestBusy(t *testing.T) {
	lib := library(t, false)
	p, path := container(t, lib, 10, all...)
	c := start(t, lib, flavour{path: standIn(t)}, "again 3")
	for range 3 {
		mustNot(t, "apply", c.tryApply(t.Context(), p, path), libpulp.ErrAgain)
		c.says("1 2 3 107")
	}
	must(t, "apply", c.tryApply(t.Context(), p, path))
	c.says("10 20 3 1107")
}

// TestSlow lets the time end while libpulp.so works. It goes on by itself; what is missing then is
// done later.
func TestSlow(t *testing.T) {
	for _, f := range flavours(t)[:2] {
		lib := library(t, false)
		p, path := container(t, lib, 10, all...)
		c := start(t, lib, f, "slow 200")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		mustNot(t, "apply", c.tryApply(ctx, p, path), libpulp.ErrUnfinished)
		cancel()
		for end := time.Now().Add(10 * time.Second); len(c.applied()) == 0 &&
			time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		if f.old {
			mustNot(t, "again", c.apply(p, path), libpulp.ErrApplied)
		} else {
			c.says("1 2 3 107")
			must(t, "finish", c.apply(p, path))
		}
		c.says("10 20 3 1107")
	}
}
