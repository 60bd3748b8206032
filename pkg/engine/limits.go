package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// The limits of a process that runs with other rights than those of the user who started it are
// that user's: prlimit(1) with little memory would keep a setuid program vulnerable. So while such
// a process is patched it has room for that, and no more than that: what it starts in the meantime
// inherits the limits, and keeps them, as does the process if this one is killed.
const (
	limitRoom  = 64 << 20 // bytes of memory, and of a file
	limitStack = 8 << 20  // bytes of stack, which is what most systems give
	limitFiles = 16       // more descriptors
)

// lifted are limits that were raised.
type lifted struct {
	p      *process.Process
	raised []raisedLimit
}

type raisedLimit struct {
	resource int
	old, new unix.Rlimit
}

// lift raises the limits of an elevated process where they are in the way. What cannot be raised
// stays as it is: the engine will say what comes of it. The result must be restored.
func lift(ctx context.Context, p *process.Process, o process.Options) *lifted {
	l := &lifted{p: p}
	if !p.Elevated() {
		return l
	}
	size, data, err := memoryOf(p.PID, o.Root)
	if err != nil {
		return l
	}
	for _, r := range []struct {
		resource int
		least    func(now uint64) uint64
	}{
		{unix.RLIMIT_AS, func(uint64) uint64 { return size + limitRoom }},
		{unix.RLIMIT_DATA, func(uint64) uint64 { return data + limitRoom }},
		{unix.RLIMIT_FSIZE, func(uint64) uint64 { return limitRoom }},
		{unix.RLIMIT_STACK, func(uint64) uint64 { return limitStack }},
		{unix.RLIMIT_NOFILE, func(now uint64) uint64 { return now + limitFiles }},
	} {
		var old unix.Rlimit
		if !l.same(ctx) || unix.Prlimit(p.PID, r.resource, nil, &old) != nil ||
			old.Cur == unix.RLIM_INFINITY {
			continue
		}
		least := r.least(old.Cur)
		if old.Cur >= least {
			continue
		}
		for _, raised := range []unix.Rlimit{{Cur: least, Max: max(old.Max, least)},
			{Cur: min(least, old.Max), Max: old.Max}} {
			if unix.Prlimit(p.PID, r.resource, &raised, nil) == nil {
				// the first one needs CAP_SYS_RESOURCE
				l.raised = append(l.raised, raisedLimit{r.resource, old, raised})
				break
			}
		}
	}
	return l
}

// restore gives the process its limits back, but those that it has changed itself in the meantime.
func (l *lifted) restore(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for _, r := range l.raised {
		var now unix.Rlimit
		if l.same(ctx) && unix.Prlimit(l.p.PID, r.resource, nil, &now) == nil && now == r.new {
			_ = unix.Prlimit(l.p.PID, r.resource, &r.old, nil) // it has ended
		}
	}
}

// same reports whether it is the same process, also if it has started another program.
func (l *lifted) same(ctx context.Context) bool {
	err := l.p.Verify(ctx)
	return err == nil || errors.Is(err, process.ErrChanged)
}

// memoryOf returns how much memory a process has mapped, and how much of that is data, in bytes.
func memoryOf(pid int, root string) (size, data uint64, err error) {
	d, err := procfs.Open(cmp.Or(root, procfs.Root), pid)
	if err != nil {
		return 0, 0, err
	}
	defer d.Close()
	var buf [256]byte
	b, err := d.Read("statm", buf[:])
	if err != nil {
		return 0, 0, err
	}
	var other uint64
	if _, err := fmt.Sscan(string(b), &size, &other, &other, &other, &other, &data); err != nil {
		return 0, 0, err
	}
	page := uint64(os.Getpagesize())
	return size * page, data * page, nil
}
