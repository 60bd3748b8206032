package process

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
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
	found := map[string]string{}
	list, err := m.environ(ctx, libraries)
	for at := list; err == nil && at != 0 && at-list < 8*maxVariables; at += 8 {
		var pointer uint64
		if pointer, err = m.pointer(ctx, at); err != nil || pointer == 0 {
			break
		}
		err = m.variable(ctx, pointer, names, found)
		if errors.Is(err, ErrUnreadable) { // what a program has in this place is its own affair
			err = nil
		}
	}
	if errors.Is(err, ErrUnreadable) {
		err = nil
	}
	return found, err
}

// environ returns what the variable "environ" of the C library points to: that of the program, if it has a copy of it.
func (m *Memory) environ(ctx context.Context, libraries []*Library) (uint64, error) {
	byProgram := slices.SortedStableFunc(slices.Values(libraries), func(a, b *Library) int { return cmp.Compare(rank(a), rank(b)) })
	for _, l := range byProgram {
		symbols, err := m.Symbols(ctx, l)
		if err != nil {
			if gone(err) || ctx.Err() != nil {
				return 0, err
			}
			continue
		}
		for _, name := range []string{"environ", "__environ"} {
			s, err := symbols.Lookup(ctx, name, "")
			if err == nil && s.Size == 8 {
				return m.pointer(ctx, s.Addr)
			} else if gone(err) || ctx.Err() != nil {
				return 0, err
			}
		}
	}
	return 0, nil
}

func rank(l *Library) int {
	if l.Main {
		return 0
	}
	return 1
}

func gone(err error) bool { return errors.Is(err, ErrGone) || errors.Is(err, ErrChanged) }

func (m *Memory) pointer(ctx context.Context, at uint64) (uint64, error) {
	var b [8]byte
	_, err := m.ReadAt(ctx, b[:], at)
	return le.Uint64(b[:]), err
}

// variable reads a variable, if it is a wanted one that was not there before.
func (m *Memory) variable(ctx context.Context, at uint64, names []string, found map[string]string) error {
	text, whole, err := m.text(ctx, at, variableChunk)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !bytes.HasPrefix(text, []byte(name+"=")) {
			continue
		}
		if _, twice := found[name]; twice {
			return nil
		}
		if !whole {
			if text, whole, err = m.text(ctx, at, maxVariable); err == nil && !whole {
				err = lookError(m.p.PID, "environ", ErrLimit)
			}
		}
		if err == nil {
			found[name] = string(text[len(name)+1:])
		}
		return err
	}
	return nil
}

// text reads a string that ends with a NUL, or with what can be read; whole is false if it is longer than most.
func (m *Memory) text(ctx context.Context, at uint64, most int) (text []byte, whole bool, err error) {
	b := make([]byte, most)
	n, err := m.ReadAt(ctx, b, at)
	text, _, whole = bytes.Cut(b[:n], []byte{0})
	if whole {
		err = nil
	}
	return text, whole, err
}
