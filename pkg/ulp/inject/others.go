package inject

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// Another engine may be at work in the process while this one looks at it without stopping it: memory appears that is not filled
// yet, records are half written, and functions lead to tables that were not there a moment ago. Nothing of that is damage, or
// another tool's: it takes another look.

// steadyState is readState, which believes that something is damaged only if nobody is at work.
func (v *view) steadyState(ctx context.Context) (*state, error) {
	st, err := v.readState(ctx)
	for i := 1; i < tableReads && (errors.Is(err, ErrDamaged) || errors.Is(err, process.ErrUnreadable)); i++ {
		time.Sleep(time.Millisecond)
		v.maps = nil
		if err = v.read(ctx); err == nil {
			st, err = v.readState(ctx)
		}
	}
	switch {
	case errors.Is(err, process.ErrUnreadable): // it was unmapped since
	case errors.Is(err, ErrDamaged):
		if p, lookErr := process.Look(ctx, v.p.PID, process.Options{}); lookErr != nil || p.TracerPID == 0 {
			return nil, cmp.Or(lookErr, err)
		}
	default:
		return st, err
	}
	return nil, fmt.Errorf("%w: another engine is at work: %v", ErrStale, err) //nolint:errorlint // it may be whole later
}

// worked reports whether what lpbuild has in the process is not what it was when it was looked at.
func (v *view) worked(ctx context.Context, st *state) bool {
	w := blankView(v.p, v.m, v.libs)
	if err := w.read(ctx); err != nil || !slices.Equal(v.memory(), w.memory()) {
		return true
	}
	now, err := w.readState(ctx)
	if err != nil || len(now.tables) != len(st.tables) {
		return true
	}
	return !slices.EqualFunc(st.tables, now.tables, func(a, b *table) bool { return bytes.Equal(a.encodePage(), b.encodePage()) })
}

// Leftover is memory of lpbuild that nothing leads to and that is no live patch: an engine that was killed left it, or a thread was
// in it. The next change gives it back.
type Leftover struct {
	Mappings int
	Size     uint64
}

// Leftover returns what is left in the process of engines that were killed. What an engine is loading at this moment looks the same.
func (v *View) Leftover() Leftover { return v.v.leftover(v.st) }

func (v *view) leftover(st *state) Leftover {
	var l Leftover
	for _, m := range v.memory() {
		i := slices.IndexFunc(st.tables, func(t *table) bool { return m.Start >= t.base && m.End <= t.base+tableSize })
		used := i >= 0 && len(st.tables[i].layers) > 0 && !st.tables[i].gone
		if used || i < 0 && st.owns(m) {
			continue
		}
		l.Mappings, l.Size = l.Mappings+1, l.Size+m.End-m.Start
	}
	return l
}

// memory returns the mappings of lpbuild's memory.
func (v *view) memory() []process.Mapping {
	return slices.DeleteFunc(slices.Clone(v.maps), func(m process.Mapping) bool { return !strings.HasPrefix(m.Path, memoryPrefix) })
}
