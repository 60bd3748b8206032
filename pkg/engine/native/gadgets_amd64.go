package native

import (
	"context"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/gadgets"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// findGadgets finds the instructions that system calls need.
func findGadgets(ctx context.Context, v *view) (tracer.Gadgets, error) {
	if len(v.libs) == 0 { // none was seen: Run finds out that they are there
		return tracer.Gadgets{}, nil
	}
	g, err := gadgets.Find(readerAt{ctx, v.m}, v.libs, func(*tracer.Gadgets) bool { return true })
	g.Store = 0 // nothing is called here
	return g, err
}

// readerAt reads a process's memory for package gadgets.
type readerAt struct {
	ctx context.Context
	m   memory
}

// ReadAt reads len(b) bytes at the address off.
func (r readerAt) ReadAt(b []byte, off int64) (int, error) {
	return r.m.ReadAt(r.ctx, b, uint64(off))
}
