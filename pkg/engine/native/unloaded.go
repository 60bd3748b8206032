package native

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// A library that dlclose unloads takes its detours with it; what was mapped for it stays behind,
// and nothing leads there. If dlopen loads it again, to the same place or another one, its
// functions are as in its file: it is not live patched.

// libraryOf returns the library that a table belongs to, nil if it is not loaded, or not where it
// was.
func (v *view) libraryOf(t *table) *rtld.Library {
	i := slices.IndexFunc(v.libs, func(l *rtld.Library) bool {
		return l.Bias == t.bias && slices.Equal(l.BuildID, t.buildID)
	})
	if i < 0 {
		return nil
	}
	return v.libs[i]
}

// markUnloaded marks the tables whose library was unloaded: no function leads to them. If it was
// loaded again, its functions are as they were; what somebody else has changed since may lead to
// the table in a way that is not known.
func (st *state) markUnloaded(ctx context.Context, v *view) error {
	for _, t := range st.tables {
		if len(t.patches) == 0 {
			continue
		}
		led, foreign, err := t.leads(func(b []byte, addr uint64) error {
			_, err := v.m.ReadAt(ctx, b, addr)
			return err
		})
		if err != nil {
			return err
		}
		t.unloaded = !led && (!foreign || v.libraryOf(t) == nil)
	}
	return nil
}

// leads reports whether a function leads to the table, and whether one is neither so nor as it was.
// What is not mapped any more is neither.
func (t *table) leads(read func(b []byte, addr uint64) error) (led, foreign bool, err error) {
	for slot, s := range t.sites {
		stub := t.stub(slot)
		at, plain := s.window(stub, false)
		have := make([]byte, len(plain))
		if err := read(have, at); errors.Is(err, process.ErrUnreadable) {
			continue
		} else if err != nil {
			return false, false, err
		}
		led, ok := s.led(have, stub)
		if led {
			return true, false, nil
		}
		foreign = foreign || !ok
	}
	return false, foreign, nil
}

// moved makes an ErrStale of an error that a library which is loaded or unloaded meanwhile, or
// another engine that is at work in the process, may be the reason of.
func (v *view) moved(ctx context.Context, st *state, err error) error {
	switch {
	case errors.Is(err, ErrAgain), errors.Is(err, rtld.ErrLoading), errors.Is(err, ErrStale),
		errors.Is(err, ErrApplied), errors.Is(err, ErrNotApplied):
		return err
	case errors.Is(err, process.ErrUnreadable):
	case errors.Is(err, ErrUnlisted), errors.Is(err, ErrUnresolved), errors.Is(err, ErrNoLibrary),
		errors.Is(err, ErrEntry),
		errors.Is(err, ErrForeign), errors.Is(err, ErrDamaged),
		errors.Is(err, process.ErrMalformed), errors.Is(err, ulp.ErrNoSymbol):
		if v.worked(ctx, st) || v.passed(ctx, st, err) {
			//nolint:errorlint // what it was is not so any more
			return fmt.Errorf("%w: another engine is at work: %v", ErrStale, err)
		}
		if !v.moving(ctx) {
			return err
		}
	default:
		return err
	}
	//nolint:errorlint // what it was is not so any more
	return fmt.Errorf("%w: it loads or unloads libraries: %v", ErrStale, err)
}

// How often, and how long after each other, libraries are looked at again: while dlopen or dlclose
// is at work, a library may be mapped and not listed for a moment.
const (
	movingLooks = 4
	movingPause = time.Millisecond
)

// moving reports whether the libraries, or those of them that the dynamic loader lists, are others
// than those that were seen.
func (v *view) moving(ctx context.Context) bool {
	for range movingLooks {
		now, err := v.m.Libraries(ctx)
		if err != nil || !slices.EqualFunc(v.libs, now, (*rtld.Library).SameAs) {
			return true
		}
		unlisted, ok := v.loaded.Unlisted()
		if !ok {
			return false
		}
		w := blankView(v.p, v.m, now).loaded
		if _, err := w.Namespaces(ctx); err != nil {
			return true
		}
		if again, _ := w.Unlisted(); !slices.EqualFunc(unlisted, again, (*rtld.Library).SameAs) {
			return true
		}
		time.Sleep(movingPause)
	}
	return false
}
