package process

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Bounds of what is read of an environment that the program has moved.
const (
	maxVariables  = 1 << 14 // variables
	variableChunk = 64      // bytes of a variable that are read to see whether it is a wanted one
)

// Environ returns those of the named variables that getenv(3) would find in the process at this
// moment, the first of each. libraries are the process's. It is for environments that
// [Process.Environ] did not see whole: it takes more time, and what it says is less certain. It
// finds nothing where no library has a variable "environ", as in static programs.
//
// The error is a [*LookError]: [ErrGone], [ErrChanged], or [ErrLimit] for a wanted value of more
// than 128 KiB.
func (m *Memory) Environ(ctx context.Context, libraries []*rtld.Library,
	names ...string) (map[string]string, error) {
	names = slices.Clone(names)
	return with(ctx, m, "environ", func() (map[string]string, error) {
		r := rtld.NewPages(reader{m})
		defer r.Done()
		return readEnviron(ctx, r, libraries, names)
	})
}

func readEnviron(ctx context.Context, r rtld.Reader, libraries []*rtld.Library,
	names []string) (map[string]string, error) {
	list, err := findEnviron(ctx, r, libraries)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for i := uint64(0); list != 0 && i < maxVariables; i++ {
		at, err := readPointer(r, list+8*i)
		if err == nil && at != 0 {
			err = readVariable(r, at, names, found)
		} else if err == nil || rtld.Local(err) {
			break
		}
		if err != nil && !errors.Is(err, ErrUnreadable) {
			// what a program has in this place is its own affair
			return nil, err
		}
	}
	return found, nil
}

// findEnviron returns what the variable "environ" of the C library points to: that of the program,
// if it has a copy of it.
func findEnviron(ctx context.Context, r rtld.Reader, libraries []*rtld.Library) (uint64, error) {
	isMain := func(l *rtld.Library) bool { return l.Main }
	programs := slices.DeleteFunc(slices.Clone(libraries), func(l *rtld.Library) bool {
		return !isMain(l)
	})
	for _, l := range append(programs, slices.DeleteFunc(slices.Clone(libraries), isMain)...) {
		s, err := rtld.OpenSymbols(ctx, rtld.Direct(r), l)
		for _, name := range []string{"environ", "__environ"} {
			var sym rtld.Symbol
			if err == nil {
				sym, err = s.Lookup(ctx, name, "")
			}
			if err == nil && sym.Size == 8 {
				var at uint64
				if at, err = readPointer(r, sym.Addr); err == nil {
					return at, nil
				}
			}
			if errors.Is(err, ulp.ErrNoSymbol) {
				err = nil
			}
		}
		if err != nil && !rtld.Local(err) && !errors.Is(err, symtab.ErrUnsupported) {
			return 0, err
		}
	}
	return 0, nil
}

func readPointer(r rtld.Reader, at uint64) (uint64, error) {
	var b [8]byte
	if _, err := r.ReadAt(b[:], at); err != nil {
		return 0, err
	}
	return le.Uint64(b[:]), nil
}

// readVariable reads a variable, if it is a wanted one that was not there before.
func readVariable(r rtld.Reader, at uint64, names []string, found map[string]string) error {
	text, whole, err := readText(r, at, variableChunk)
	i := slices.IndexFunc(names, func(name string) bool {
		return bytes.HasPrefix(text, []byte(name+"="))
	})
	if err != nil || i < 0 {
		return err
	}
	if _, twice := found[names[i]]; twice {
		return nil
	}
	if !whole {
		text, whole, err = readText(r, at, maxVariable)
	}
	switch {
	case err != nil:
		return err
	case !whole:
		return ErrLimit
	}
	found[names[i]] = string(text[len(names[i])+1:])
	return nil
}

// readText reads a string; whole is false if it is longer than most.
func readText(r rtld.Reader, at uint64, most int) (text []byte, whole bool, err error) {
	b := make([]byte, most)
	n, err := r.ReadAt(b, at)
	if text, _, whole = bytes.Cut(b[:n], []byte{0}); whole {
		err = nil // what is after it does not count
	}
	return text, whole, err
}
