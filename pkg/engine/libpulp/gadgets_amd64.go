package libpulp

import (
	"strings"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// gadgetCache is that of all processes.
var gadgetCache tracer.GadgetCache

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

func (r *Runtime) gadgetsIn(rd memory, l *rtld.Library) (tracer.Gadgets, bool) {
	var code []tracer.Range
	for _, s := range l.Segments {
		if s.Perm&rtld.PermExec != 0 && s.Perm&rtld.PermWrite == 0 {
			code = append(code, tracer.Range{Start: s.Start, End: s.End})
		}
	}
	g, err := gadgetCache.Find(rd, l.BuildID, l.Segments[0].Start, code)
	g.Keep = 0 // no batches here
	return g, err == nil && g.Store != 0
}
