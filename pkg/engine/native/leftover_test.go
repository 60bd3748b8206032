package native

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestLeftoverOfKilledEngine kills the engine before each thing it does to apply a live patch, and
// while it takes it back. All that is in the process then and was not before is told: as an active
// live patch, as one that is not, or as left. The next change gives back what is not active, and
// nothing else.
func TestLeftoverOfKilledEngine(t *testing.T) {
	lib := library(t, nopFlags)
	path := file(t, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	libs := len(opened(t, c.pid).libs)
	works := []work{{path: path}, {path: path, oneByOne: true}, {path: path, twoStops: true},
		{path: path, load: "memfd"}}
	for _, load := range loads(t, "file") {
		works = append(works, work{path: path, load: load},
			work{path: path, load: load, oneByOne: true})
	}
	for _, w := range works {
		was := c.bytesMapped()
		seen := map[string]int{}
		steps := stepsOf(t, c.pid, w)
		c.cleared(before)
		for n := range steps {
			if err := startEngineAs(t, c.pid, n, w).Run(); !targettest.Killed(err) {
				t.Fatalf("step %d: %v", n, err)
			}
			c.whole("home again")
			v := &View{v: opened(t, c.pid)}
			var err error
			if v.st, err = v.v.readState(t.Context()); err != nil {
				t.Fatal(err)
			}
			if now := len(v.v.libs); now != libs {
				t.Fatalf("%+v, killed before step %d: %d libraries, not %d", w, n, now, libs)
			}
			left, active := v.Leftover(), false
			told := left.Size
			for _, a := range v.List() {
				told += a.Size
				active = active || a.Active
			}
			for _, tab := range v.st.tables {
				if len(tab.patches) > 0 && !tab.unloaded {
					told += tableSize
				}
			}
			if now := c.bytesMapped(); now-was != told {
				t.Fatalf("%+v, killed before step %d: %d bytes came, %d are told: %+v, %+v", w, n,
					now-was, told, left, v.List())
			}
			if there, err := Present(t.Context(), v.v.m.(*process.Memory)); err != nil ||
				there != (told > 0) {
				t.Fatalf("%+v, killed before step %d: present: %v, %v; %d bytes are told", w, n,
					there, err, told)
			}
			switch {
			case active:
				seen["active"]++
			case len(v.st.unfinished) > 0:
				seen["unfinished"]++
			case len(v.st.records) > 0:
				seen["filled"]++
			case told > 0:
				seen["table"]++
			default:
				seen["nothing"]++
			}
			all := c.Ask("all")
			c.change(Change{}, Options{})
			c.says("all", all)
			if !active {
				if d := cmp.Diff(before, c.snapshot()); d != "" {
					t.Fatalf("%+v, killed before step %d: %s", w, n, d)
				}
			}
			c.cleared(before)
		}
		t.Logf("%+v: %d steps: %v", w, steps, seen)
		for _, what := range []string{"active", "unfinished", "filled", "nothing"} {
			if seen[what] == 0 {
				t.Errorf("%+v: never %s: %v", w, what, seen)
			}
		}
	}
}

// bytesMapped is the size of all mappings of a process but the first thread's stack.
func (c *child) bytesMapped() (sum uint64) {
	c.t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			c.t.Fatal(err)
		}
		if !strings.Contains(line, "[stack]") {
			sum += to - from
		}
	}
	return sum
}
