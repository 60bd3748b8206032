package libpulp_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// TestUnderLimits: where a limit keeps libpulp.so from loading a live patch, it says so, and
// nothing was patched. Once the limit is lifted it can.
func TestUnderLimits(t *testing.T) {
	lib := library(t, true)
	p, path := container(t, lib, 20, "one:one_lp")
	for _, f := range flavours(t) {
		for name, limit := range map[string]struct {
			which int
			most  uint64
		}{"RLIMIT_AS": {unix.RLIMIT_AS, 1}, "RLIMIT_NOFILE": {unix.RLIMIT_NOFILE, 0}} {
			t.Run(f.name+"/"+name, func(t *testing.T) {
				c := start(t, lib, f, "")
				var before unix.Rlimit
				must(t, name, unix.Prlimit(c.pid, limit.which, nil, &before))
				must(t, name, unix.Prlimit(c.pid, limit.which,
					&unix.Rlimit{Cur: limit.most, Max: before.Max}, nil))
				mustNot(t, "apply", c.apply(p, path), libpulp.ErrDlopen)
				c.says("1 2 3 107")
				if list := c.applied(); len(list) != 0 {
					t.Errorf("applied: %v", list)
				}
				must(t, name, unix.Prlimit(c.pid, limit.which, &before, nil))
				must(t, "apply", c.apply(p, path))
				c.says("20 2 3 107")
				must(t, "revert", c.revert(p))
				c.says("1 2 3 107")
			})
		}
	}
}

// TestFiltered: what dlopen calls is asked of the filters first. A process that they would kill for
// it is left as it is.
func TestFiltered(t *testing.T) {
	targettest.NeedFilters(t)
	lib := library(t, true)
	p, path := container(t, lib, 20, "one:one_lp")
	sandbox := gcc(t, "sandbox.so", "../testdata/sandbox.c", "-shared", "-fPIC")
	for _, f := range flavours(t) {
		t.Run(f.name, func(t *testing.T) {
			f.path = sandbox + ":" + f.path
			c := start(t, lib, f, "")
			mustNot(t, "apply", c.apply(p, path), tracer.ErrSeccomp)
			c.says("1 2 3 107")
			must(t, "the same, with filters suspended",
				c.do(func(r *libpulp.Runtime) (*libpulp.Plan, error) {
					return r.PlanApply(t.Context(), p, path)
				}, tracer.Options{SuspendSeccomp: true}))
			c.says("20 2 3 107")
		})
	}
}

// TestExecuteOnly: libpulp's detour reads its destination from the code, which a function in
// execute-only memory would not survive.
func TestExecuteOnly(t *testing.T) {
	lib := library(t, true)
	p, path := container(t, lib, 20, "one:one_lp")
	xom := gcc(t, "xom.so", "testdata/xom.c", "-shared", "-fPIC")
	for _, f := range flavours(t) {
		t.Run(f.name, func(t *testing.T) {
			f.path = xom + ":" + f.path
			c := start(t, lib, f, "")
			err := c.apply(p, path)
			mustNot(t, "apply", err, libpulp.ErrNotPatchable)
			if err != nil && !strings.Contains(err.Error(), "cannot be read") {
				t.Error(err)
			}
			c.says("1 2 3 107")
		})
	}
}
