package inject

import (
	"context"
	"slices"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
	"github.com/lpbuild/lpbuild/pkg/ulp/tracer"
)

// gadgetPlaces has what findGadgets found, by the build-id of the library that they are in, relative to its bias: searching takes longer than
// all the rest of a plan, and most processes have the same libc. The tracer looks at the instructions again before it uses
// them.
var gadgetPlaces sync.Map

// findGadgets finds the instructions that system calls need, in libc, or in any other library.
func findGadgets(ctx context.Context, v *view) (tracer.Gadgets, error) {
	libs := slices.Clone(v.libs)
	slices.SortStableFunc(libs, func(a, b *process.Library) int { return rank(a) - rank(b) })
	var firstErr error
	for _, l := range libs {
		if cached, ok := gadgetPlaces.Load(string(l.BuildID)); ok && len(l.BuildID) > 0 {
			g := cached.(tracer.Gadgets)
			return tracer.Gadgets{Syscall: l.Bias + g.Syscall, Restorer: l.Bias + g.Restorer, Keep: bias(l, g.Keep)}, nil
		}
		var ranges []tracer.Range
		for _, s := range l.Segments {
			if s.Perm&process.PermExec != 0 {
				ranges = append(ranges, tracer.Range{Start: s.Start, End: s.End})
			}
		}
		g, err := tracer.FindGadgets(readerAt{ctx, v.m}, ranges)
		if err == nil {
			gadgetPlaces.Store(string(l.BuildID), tracer.Gadgets{Syscall: g.Syscall - l.Bias, Restorer: g.Restorer - l.Bias, Keep: unbias(l, g.Keep)})
			return tracer.Gadgets{Syscall: g.Syscall, Restorer: g.Restorer, Keep: g.Keep}, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return tracer.Gadgets{}, firstErr
}

func rank(l *process.Library) int {
	if l.SONAME == "libc.so.6" {
		return 0
	}
	return 1
}

// readerAt reads a process's memory for tracer.FindGadgets.
type readerAt struct {
	ctx context.Context
	m   *process.Memory
}

// ReadAt reads len(b) bytes at the address off.
func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return r.m.ReadAt(r.ctx, b, uint64(off)) }

// bias and unbias turn the place of a gadget that may be missing (0) into its address and back.
func bias(l *process.Library, at uint64) uint64 {
	if at == 0 {
		return 0
	}
	return l.Bias + at
}

func unbias(l *process.Library, addr uint64) uint64 {
	if addr == 0 {
		return 0
	}
	return addr - l.Bias
}
