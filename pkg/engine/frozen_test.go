package engine_test

import (
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
)

// TestFrozen: a frozen process fails with the reason and without a stop, by either engine, and is
// patched when it is thawed before it has been waited for, which takes half a second and not all of
// its time.
func TestFrozen(t *testing.T) {
	cs := read(t, container(t, "a", 10))
	for _, f := range targettest.Freezers(t) {
		for name, preload := range map[string]string{"native": "", "libpulp": standIn(t)} {
			t.Run(f.Name+" "+name, func(t *testing.T) {
				c := start(t, "a", preload, "frozen")
				f.Add(c.pid)
				f.Freeze()
				f.Frozen()
				for _, dry := range []bool{true, false} {
					r := c.one(engine.Options{Containers: cs, Engines: auto(), Attempts: 2,
						DryRun: dry})
					if c.is(engine.Failed, engine.ErrFrozen, r); r.Stop != 0 {
						t.Errorf("stopped for %v", r.Stop)
					}
				}
				began := time.Now()
				r := c.one(engine.Options{Containers: cs, Engines: auto(), Timeout: time.Minute})
				if c.is(engine.Failed, engine.ErrFrozen, r); time.Since(began) > 30*time.Second {
					t.Errorf("%v for a process that stays frozen", time.Since(began))
				}
				time.AfterFunc(50*time.Millisecond, f.Thaw)
				c.is(engine.Changed, nil,
					c.one(engine.Options{Containers: cs, Engines: auto(), Timeout: time.Minute}))
				c.says(tens10)
			})
		}
	}
}
