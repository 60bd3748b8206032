package process

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Bounds of what is read of an environment that the program has moved.
const (
	maxVariables  = 1 << 14 // variables
	variableChunk = 64      // bytes of a variable that are read to see whether it is a wanted one
)

// Environ returns those of the named variables that getenv(3) would find in the process at this moment, the first of each.
// libraries are the process's. It is for environments that [Process.Environ] did not see whole: it takes more time, and what
// it says is less certain. It finds nothing where no library has a variable "environ", as in static programs.
//
// The error is a [*LookError]: [ErrGone], [ErrChanged], or [ErrLimit] for a wanted value of more than 128 KiB.
func (m *Memory) Environ(ctx context.Context, libraries []*Library, names ...string) (map[string]string, error) {
	names = slices.Clone(names)
	return with(ctx, m, "environ", func() (map[string]string, error) {
		r := newPages(m)
		defer r.done()
		return readEnviron(r, libraries, names)
	})
}

func readEnviron(r reader, libraries []*Library, names []string) (map[string]string, error) {
	list, err := findEnviron(r, libraries)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for i := uint64(0); list != 0 && i < maxVariables; i++ {
		at, err := readPointer(r, list+8*i)
		if err == nil && at != 0 {
			err = readVariable(r, at, names, found)
		} else if err == nil || local(err) {
			break
		}
		if err != nil && !errors.Is(err, ErrUnreadable) { // what a program has in this place is its own affair
			return nil, err
		}
	}
	return found, nil
}

// findEnviron returns what the variable "environ" of the C library points to: that of the program, if it has a copy of it.
func findEnviron(r reader, libraries []*Library) (uint64, error) {
	isMain := func(l *Library) bool { return l.Main }
	programs := slices.DeleteFunc(slices.Clone(libraries), func(l *Library) bool { return !isMain(l) })
	for _, l := range append(programs, slices.DeleteFunc(slices.Clone(libraries), isMain)...) {
		s, err := openSymbols(r, l)
		for _, name := range []string{"environ", "__environ"} {
			var sym Symbol
			if err == nil {
				sym, err = s.lookup(r, name, "")
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
		if err != nil && !local(err) && !errors.Is(err, ulp.ErrUnsupported) {
			return 0, err
		}
	}
	return 0, nil
}

func readPointer(r reader, at uint64) (uint64, error) {
	var b [8]byte
	if err := readFull(r, b[:], at); err != nil {
		return 0, err
	}
	return le.Uint64(b[:]), nil
}

// readVariable reads a variable, if it is a wanted one that was not there before.
func readVariable(r reader, at uint64, names []string, found map[string]string) error {
	text, whole, err := readText(r, at, variableChunk)
	i := slices.IndexFunc(names, func(name string) bool { return bytes.HasPrefix(text, []byte(name+"=")) })
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
func readText(r reader, at uint64, most int) (text []byte, whole bool, err error) {
	b := make([]byte, most)
	n, err := r.readAt(b, at)
	if text, _, whole = bytes.Cut(b[:n], []byte{0}); whole {
		err = nil // what is behind it does not count
	}
	return text, whole, err
}
