package process

import "context"

// NameOf returns the name that the kernel has for a process, as [Process].Name is. It is for a process that cannot be looked at,
// whose name may still be known. The error is that of [Look].
func NameOf(ctx context.Context, pid int, o Options) (string, error) {
	return glance(ctx, pid, o, func(d dir) (string, error) {
		s, err := d.stat()
		if err != nil {
			return "", err
		}
		return s.Name, nil
	})
}

// UserOf returns the user numbers of a process that cannot be looked at. The error is that of [Look].
func UserOf(ctx context.Context, pid int, o Options) (IDs, error) {
	return glance(ctx, pid, o, func(d dir) (IDs, error) {
		s, err := d.Status(0)
		if err != nil {
			return IDs{}, err
		}
		return idsOf(s.UID), nil
	})
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
