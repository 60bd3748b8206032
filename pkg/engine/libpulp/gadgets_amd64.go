package libpulp

import (
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/gadgets"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// gadgets finds the instructions that system calls and calls of functions need.
func (r *Runtime) gadgets(rd memory) (tracer.Gadgets, error) {
	libs := slices.DeleteFunc(slices.Clone(r.Libraries), func(l *rtld.Library) bool {
		return l.Problem != nil
	})
	g, err := gadgets.Find(rd, libs, func(g *tracer.Gadgets) bool { return g.Store != 0 })
	if err == nil {
		g.Keep = 0 // no batches here
		return g, nil
	}
	if _, err := r.state(rd); err != nil {
		return tracer.Gadgets{}, err // nothing can be read any more: the process is gone
	}
	return tracer.Gadgets{}, fault(ErrUnknown, tracer.ErrGadget, "in %d libraries",
		len(r.Libraries))
}
