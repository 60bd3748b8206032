package native

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Another engine may be at work in the process while this one looks at it without stopping it:
// memory appears that is not filled yet, records are half written, and functions lead to tables
// that were not there a moment ago. Nothing of that is damage, or another tool's: it takes another
// look.

// steadyState is readState, which believes that something is damaged only if nobody is at work.
func (v *view) steadyState(ctx context.Context) (*state, error) {
	st, err := v.readState(ctx)
	for i := 1; i < tableReads && (errors.Is(err, ErrDamaged) ||
		errors.Is(err, process.ErrUnreadable)); i++ {
		time.Sleep(time.Millisecond)
		v.maps = nil
		if err = v.read(ctx); err == nil {
			st, err = v.readState(ctx)
		}
	}
	switch {
	case errors.Is(err, process.ErrUnreadable): // it was unmapped since
	case errors.Is(err, ErrDamaged):
		if p, lookErr := process.Look(ctx, v.p.PID, process.Options{}); lookErr != nil ||
			p.TracerPID == 0 {
			return nil, cmp.Or(lookErr, err)
		}
	default:
		return st, err
	}
	//nolint:errorlint // it may be whole later
	return nil, fmt.Errorf("%w: another engine is at work: %v", ErrStale, err)
}

// worked reports whether what lpbuild has in the process is not what it was when it was looked at.
func (v *view) worked(ctx context.Context, st *state) bool {
	w := blankView(v.p, v.m, v.libs)
	if err := w.read(ctx); err != nil {
		return true
	}
	now, err := w.readState(ctx)
	if err != nil || !slices.Equal(v.memory(st), w.memory(now)) ||
		len(now.tables) != len(st.tables) {
		return true
	}
	return !slices.EqualFunc(st.tables, now.tables, func(a, b *table) bool {
		return bytes.Equal(a.encodePage(), b.encodePage())
	})
}

// Leftover is memory of lpbuild that nothing leads to and that is no live patch: an engine that was
// killed left it, or a thread was in it. The next change gives it back.
type Leftover struct {
	Mappings int
	Size     uint64
}

// Leftover returns what is left in the process of engines that were killed. What an engine is
// loading at this moment looks the same.
func (v *View) Leftover() Leftover { return v.v.leftover(v.st) }

func (v *view) leftover(st *state) Leftover {
	var l Leftover
	add := func(size uint64) { l.Mappings, l.Size = l.Mappings+1, l.Size+size }
	for _, t := range st.tables {
		if len(t.patches) == 0 || t.unloaded {
			add(tableSize)
		}
	}
	for _, u := range st.unfinished {
		add(u.size)
	}
	return l
}

// memory returns the mappings in which something of lpbuild is.
func (v *view) memory(st *state) []rtld.Mapping {
	return slices.DeleteFunc(slices.Clone(v.maps), func(m rtld.Mapping) bool {
		return !st.knows(m) && !slices.ContainsFunc(st.unfinished, func(u extent) bool {
			return m.Start < u.off+u.size && u.off < m.End
		})
	})
}
