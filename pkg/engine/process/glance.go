package process

import (
	"context"
	"strings"
)

// Glance shows what can be seen of a process without waiting for it, whatever it does: not even one
// that never completes an exec blocks readers of its comm and status. It is for
// [ScanOptions].Meant, and good until that returns.
type Glance struct{ d dir }

// Name returns the name that the kernel has for the process, as [Process].Name is.
func (g Glance) Name() (string, error) { return g.d.comm() }

// User returns the user numbers of the process.
func (g Glance) User() (IDs, error) {
	s, err := g.d.Status(0)
	if err != nil {
		return IDs{}, err
	}
	return idsOf(s.UID), nil
}

// maxComm bounds the name of a kernel thread.
const maxComm = 256

// comm returns the name of the main thread.
func (d dir) comm() (string, error) {
	var b [maxComm]byte
	text, err := d.Read("comm", b[:])
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(text), "\n"), nil
}

// NameOf returns the name that the kernel has for a process, as [Process].Name is. It is for a
// process that cannot be looked at, whose name may still be known. The error is that of [Look].
func NameOf(ctx context.Context, pid int, o Options) (string, error) {
	return glance(ctx, pid, o, dir.comm)
}

// UserOf returns the user numbers of a process that cannot be looked at. The error is that of
// [Look].
func UserOf(ctx context.Context, pid int, o Options) (IDs, error) {
	return glance(ctx, pid, o, func(d dir) (IDs, error) { return Glance{d}.User() })
}

func glance[T any](ctx context.Context, pid int, o Options, f func(d dir) (T, error)) (T, error) {
	v, err := await(ctx, func() (v T, err error) {
		d, err := openDir(o.root(), pid)
		if err != nil {
			return v, err
		}
		defer d.Close()
		return f(d)
	})
	return v, lookError(pid, "process", err)
}
