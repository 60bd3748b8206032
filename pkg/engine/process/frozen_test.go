package process_test

import (
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
)

// TestFrozen freezes and thaws a process.
func TestFrozen(t *testing.T) {
	for _, f := range targettest.Freezers(t) {
		target := start(t, "threads", "2")
		f.Add(target.pid)
		p := look(t, target.pid)
		is := func(want bool) {
			t.Helper()
			if got, err := p.Frozen(t.Context()); got != want || err != nil {
				t.Errorf("%s: frozen %v, %v", f.Name, got, err)
			}
		}
		is(false)
		f.Freeze()
		f.Frozen()
		is(true)
		f.Thaw()
		is(false)
	}
}
