package inject

import (
	"errors"
	"strconv"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestSharedMemory: of two processes with one memory, none is changed as long as the other one runs.
func TestSharedMemory(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	c := start(t, target(t, lib), 0)
	sharer, err := strconv.Atoi(c.ask("share"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{c.pid, sharer} {
		if _, err := NewPlan(t.Context(), look(t, pid), Change{Apply: []*Patch{p}}, Options{}); !errors.Is(err, ErrShared) {
			t.Errorf("process %d: %v, want %v", pid, err, ErrShared)
		}
	}
	c.says("all", original)
	c.says("unshare", "ok")
	if _, err := Do(t.Context(), look(t, c.pid), Change{Apply: []*Patch{p}}, Options{}); err != nil {
		t.Error(err)
	}
}
