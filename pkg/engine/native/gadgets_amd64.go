package native

import (
	"context"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// gadgets are those of all processes.
var gadgets tracer.GadgetCache

// findGadgets finds the instructions that system calls need, in libc, or in any other library.
func findGadgets(ctx context.Context, v *view) (tracer.Gadgets, error) {
	libs := slices.Clone(v.libs)
	slices.SortStableFunc(libs, func(a, b *rtld.Library) int { return rank(a) - rank(b) })
	var firstErr error
	for _, l := range libs {
		var code []tracer.Range
		for _, s := range l.Segments {
			if s.Perm&rtld.PermExec != 0 && s.Perm&rtld.PermWrite == 0 {
				code = append(code, tracer.Range{Start: s.Start, End: s.End})
			}
		}
		g, err := gadgets.Find(readerAt{ctx, v.m}, l.BuildID, l.Bias, code)
		if err == nil {
			g.Store = 0 // nothing is called here
			return g, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return tracer.Gadgets{}, firstErr
}

func rank(l *rtld.Library) int {
	if l.SONAME == "libc.so.6" {
		return 0
	}
	return 1
}

// readerAt reads a process's memory for tracer.FindGadgets.
type readerAt struct {
	ctx context.Context
	m   memory
}

// ReadAt reads len(b) bytes at the address off.
func (r readerAt) ReadAt(b []byte, off int64) (int, error) { return r.m.ReadAt(r.ctx, b, uint64(off)) }
