package native

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
)

// loadable rejects a process all of whose threads have seccomp filters that cannot be
// may read, before it is stopped in vain: a thread is never sent into a call that may kill it.
// Everything else about filters is seen under the stop, since only a tracer can.
func (b *planner) loadable(ctx context.Context) error {
	if len(b.regions) == 0 || b.o.SuspendSeccomp || b.p.Seccomp == process.SeccompNone ||
		readsFilters() {
		return nil
	}
	free, err := b.p.Unfiltered(ctx)
	if err != nil || free {
		return err
	}
	return fmt.Errorf("%w: %w", tracer.ErrFilter, ErrSeccomp)
}

// readsFilters reports whether the kernel may let this process read filters: it wants
// CAP_SYS_ADMIN, and no filter in the way.
func readsFilters() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return true // it will be seen
	}
	mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0 && (err != nil || mode == 0)
}
