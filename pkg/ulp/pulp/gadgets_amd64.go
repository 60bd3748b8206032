package pulp

import (
	"strings"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// gadgetCache remembers where the instructions that package tracer needs are in a build of libc, since searching takes a
// millisecond. What is remembered comes from processes, and is only a hint: it is looked at again in each process.
var gadgetCache struct {
	sync.Mutex
	byBuild map[string]tracer.Gadgets // relative to the library's first segment
}

// maxBuilds bounds the cache.
const maxBuilds = 1024

// gadgets finds the instructions in the process: in libc, or else in any library.
func (r *Runtime) gadgets(rd memory) (tracer.Gadgets, error) {
	for _, only := range []bool{true, false} {
		for _, l := range r.Libraries {
			if l.Problem != nil || only != strings.HasPrefix(l.Name, "libc.") && only != strings.HasPrefix(l.Name, "libc-") {
				continue
			}
			if g, ok := r.gadgetsIn(rd, l); ok {
				return g, nil
			}
		}
	}
	if _, err := r.state(rd); err != nil {
		return tracer.Gadgets{}, err // nothing can be read any more: the process is gone
	}
	return tracer.Gadgets{}, fault(ErrUnknown, tracer.ErrGadget, "in %d libraries", len(r.Libraries))
}

func (r *Runtime) gadgetsIn(rd memory, l *process.Library) (tracer.Gadgets, bool) {
	gadgetCache.Lock()
	known, ok := gadgetCache.byBuild[string(l.BuildID)]
	gadgetCache.Unlock()
	base := l.Segments[0].Start
	if ok {
		g := shift(known, base)
		if inText(l, g) && holds(rd, g) {
			return g, true
		}
	}
	var ranges []tracer.Range
	for _, s := range l.Segments {
		if s.Perm&process.PermExec != 0 && s.Perm&process.PermWrite == 0 {
			ranges = append(ranges, tracer.Range{Start: s.Start, End: s.End})
		}
	}
	g, err := tracer.FindGadgets(rd, ranges)
	if err != nil || g.Store == 0 || !inText(l, g) {
		return g, false
	}
	gadgetCache.Lock()
	defer gadgetCache.Unlock()
	if gadgetCache.byBuild == nil || len(gadgetCache.byBuild) >= maxBuilds {
		gadgetCache.byBuild = make(map[string]tracer.Gadgets)
	}
	gadgetCache.byBuild[string(l.BuildID)] = shift(g, -base)
	return g, true
}

func shift(g tracer.Gadgets, by uint64) tracer.Gadgets {
	g.Syscall, g.Restorer, g.Store = g.Syscall+by, g.Restorer+by, g.Store+by
	g.Keep = 0 // no batches here
	return g
}

// inText says whether all gadgets are in code of the library.
func inText(l *process.Library, g tracer.Gadgets) bool {
	for _, addr := range []uint64{g.Syscall, g.Restorer, g.Store} {
		if s := l.Segment(addr); s == nil || s.Perm&process.PermExec == 0 {
			return false
		}
	}
	return true
}

// holds says whether the gadgets are where they are said to be.
func holds(rd memory, g tracer.Gadgets) bool {
	var ranges []tracer.Range
	for _, addr := range []uint64{g.Syscall, g.Restorer, g.Store} {
		ranges = append(ranges, tracer.Range{Start: addr, End: addr + gadgetSize})
	}
	found, err := tracer.FindGadgets(rd, ranges)
	return err == nil && found.Syscall == g.Syscall && found.Restorer == g.Restorer && found.Store == g.Store
}

// gadgetSize is longer than any of the instructions.
const gadgetSize = 32
