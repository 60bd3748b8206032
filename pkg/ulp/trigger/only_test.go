package trigger_test

import (
	"context"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// TestOnly leaves processes alone that the caller does not mean, without a word.
func TestOnly(t *testing.T) {
	one, other := start(t, "a", standIn(t), "onlyone"), start(t, "a", standIn(t), "onlyother")
	name := trigger.NewWildcard("only*")
	reports, sum, err := runAll(t, trigger.Options{
		Selector: trigger.Selector{Name: &name}, Backends: []trigger.Backend{&trigger.Libpulp{}}, Containers: read(t, container(t, "a", 10)),
		Only: func(_ context.Context, p *process.Process) bool { return p.PID == one.pid },
	})
	must(t, err)
	if sum.Changed != 1 || sum.Processes() != 1 || reports[one.pid] == nil {
		t.Errorf("%+v", sum)
	}
	one.says(tens10)
	other.says(unpatched)
}
