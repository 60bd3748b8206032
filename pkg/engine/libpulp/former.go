package libpulp

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// libpulp.so never unloads a container: what was reverted stays in the process, with the threads
// that are in it, and is on no list that could be read. It is found by what it is: a library whose
// file has the metadata of a live patch. The kernel leads to the very file that is mapped, even if
// it was deleted since (/proc/PID/map_files); others than root read it by its path.

// former is a container that has, or had, code of a function.
type former struct {
	l      *rtld.Library
	starts []uint64 // of its replacements, as far as they are known
}

// replaces is what a library that is loaded replaces.
type replaces struct {
	unknown  bool // it may be a container: its file cannot be read
	metadata *ulp.Metadata
}

// formerOf returns the containers that have, or had, code of a function.
func (r *Runtime) formerOf(ctx context.Context, applied []Applied, old uint64) ([]former, error) {
	target := r.libraryAt(old)
	var list []former
	for _, l := range r.Libraries {
		if l == target || l == r.Library || l.Main || l.Loader {
			continue
		}
		f, on := former{l: l}, false
		for i := range applied {
			for _, s := range applied[i].Functions {
				if l.Segment(s.New) != nil {
					on = on || s.Old == old
					f.starts = append(f.starts, s.New)
				}
			}
		}
		if !on && len(f.starts) == 0 {
			is, err := r.replacesIn(ctx, l)
			if err != nil {
				return nil, err
			}
			on = is.unknown || is.metadata != nil && isOf(is.metadata, target, old)
		}
		if on {
			list = append(list, f)
		}
	}
	return list, nil
}

// Former reports whether a container that has, or had, code of a function is in memory, or may be.
func (r *Runtime) Former(ctx context.Context, entry uint64) (bool, error) {
	applied, err := r.Applied(ctx)
	if err != nil {
		return false, err
	}
	list, err := r.formerOf(ctx, applied, entry)
	return len(list) > 0, err
}

// isOf reports whether metadata are those of a live patch of a function.
func isOf(m *ulp.Metadata, target *rtld.Library, old uint64) bool {
	return target != nil && bytes.Equal(m.Target.BuildID, target.BuildID) &&
		slices.ContainsFunc(m.Functions, func(f ulp.Function) bool {
			return f.OldValue == 0 || target.Bias+f.OldValue == old
		})
}

// replacesIn reads once what a library replaces. Containers have no SONAME. It is first asked
// before the stop, and under it not again: a file system may be the process's own work.
func (r *Runtime) replacesIn(ctx context.Context, l *rtld.Library) (replaces, error) {
	if is, ok := r.containers[l]; ok || l.SONAME != "" {
		return is, nil
	}
	is, err := answered(ctx, func() (replaces, error) { return replacesOf(r.pid, l) })
	if err != nil && ctx.Err() != nil {
		return replaces{}, err
	}
	if err != nil {
		is = replaces{unknown: true}
	}
	if r.containers == nil {
		r.containers = map[*rtld.Library]replaces{}
	}
	r.containers[l] = is
	return is, nil
}

// replacesOf reads what a library replaces. The error is that its file is not to be had, is another
// one, or cannot be understood.
func replacesOf(pid int, l *rtld.Library) (replaces, error) {
	f, size, err := openMapped(pid, l)
	if err != nil {
		return replaces{}, err
	}
	defer f.Close()
	e, err := elfx.Open(f, size)
	if err != nil {
		return replaces{}, err
	}
	if id, err := e.BuildID(); err != nil || !bytes.Equal(id, l.BuildID) {
		return replaces{}, fmt.Errorf("another file: %w", err)
	}
	s := e.Find(ulp.SectionMetadata)
	if s == nil {
		return replaces{}, nil
	}
	if s.Size > maxContainer {
		return replaces{}, fmt.Errorf("%d bytes of metadata", s.Size)
	}
	b := make([]byte, s.Size)
	if _, err := f.ReadAt(b, int64(s.Offset)); err != nil {
		return replaces{}, err
	}
	m, err := ulp.ParseMetadata(b)
	return replaces{metadata: m}, err
}

// openMapped opens the file that a library was loaded from.
func openMapped(pid int, l *rtld.Library) (*os.File, int64, error) {
	i := slices.IndexFunc(l.Segments, func(s rtld.Segment) bool { return s.File })
	if i < 0 {
		return nil, 0, os.ErrNotExist
	}
	at, err := unix.Open(fmt.Sprintf("/proc/%d/map_files/%x-%x", pid, l.Segments[i].Start,
		l.Segments[i].End), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil && !l.Deleted {
		at, err = openIn(pid, l.Path)
	}
	if err != nil {
		return nil, 0, err
	}
	return openRegular(at)
}
