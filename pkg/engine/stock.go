package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/engine/native"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// stockCache remembers which files have functions without NOPs that an engine can replace, as
// nopCache does for others.
type stockCache struct{ m sync.Map }

type stockKey struct {
	engine string
	file   nopKey
}

// replaceable reports whether one of a process's libraries has a function that can be replaced by a
// live patch which says "entries: any". The proof takes long for a large library, and is nearly
// always made of libc, once.
func (c *stockCache) replaceable(ctx context.Context, v *View, e Engine, t Target) (bool, error) {
	libraries := slices.Clone(v.Libraries)
	slices.SortStableFunc(libraries, func(a, b *rtld.Library) int { return rank(a) - rank(b) })
	for _, l := range libraries {
		ok, err := c.library(ctx, v, e, t, l)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// rank puts libraries first that every program has.
func rank(l *rtld.Library) int {
	switch {
	case strings.HasPrefix(l.SONAME, "libc."):
		return 0
	case l.Main:
		return 2
	}
	return 1
}

func (c *stockCache) library(ctx context.Context, v *View, e Engine, t Target,
	l *rtld.Library) (bool, error) {
	key := stockKey{e.Name(), nopKey{l.File, string(l.BuildID), v.Process.UID.Real}}
	if known, ok := c.m.Load(key); ok {
		return known.(bool), nil
	}
	ok, err := t.Replaceable(ctx, l)
	switch {
	case errors.Is(err, native.ErrNoLoader), foreignTo(err):
		return false, nil // of this process, or this library
	case err != nil:
		return false, err
	}
	if l.File != (rtld.FileID{}) {
		c.m.Store(key, ok)
	}
	return ok, nil
}

// foreignTo reports whether an error is about one library only.
func foreignTo(err error) bool {
	return errors.Is(err, process.ErrMalformed) || errors.Is(err, process.ErrUnreadable) ||
		errors.Is(err, process.ErrLimit)
}
