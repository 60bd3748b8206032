package native

import (
	"context"
	"slices"
)

// verify is the fourth phase. Where threads may have run since the survey, it surveys the process
// again, and checks that what was mapped is still there.
func (x *executor) verify(context.Context) error {
	if x.filling == fillRunning {
		if err := x.stillMapped(); err != nil {
			return err
		}
		x.expect = slices.DeleteFunc(slices.Clone(x.expect), func(w write) bool {
			return x.released(w.addr)
		})
		if err := x.compareProcess(); err != nil {
			return err
		}
	}
	return x.late()
}

// released reports whether what was at an address was unmapped by load.
func (x *executor) released(addr uint64) bool {
	return slices.ContainsFunc(x.retired, func(r *retired) bool {
		return r.state == retiredReleased && r.contains(addr)
	})
}

// stillMapped returns ErrStale if what was mapped is not there any more: the process could have
// mapped something else over it.
func (x *executor) stillMapped() error {
	for _, rg := range x.regions {
		if err := x.compare([]write{{rg.base, rg.first()}}); err != nil {
			// Whatever it is now, it is not ours to unmap. The next change unmaps what is left of
			// ours.
			x.mapped = nil
			return err
		}
	}
	return nil
}
