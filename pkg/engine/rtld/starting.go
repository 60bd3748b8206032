package rtld

import (
	"debug/elf"
	"errors"
	"path"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// ErrStarting means that the dynamic loader has not loaded yet what the program needs, as just after exec: which libraries
// the process has is not known before a moment later.
var ErrStarting = errors.New("the program is just starting: its libraries are not all loaded yet")

// CheckStarted returns an [ErrStarting] if the loader has not loaded all that is needed. list lists the libraries anew: see
// [process.Memory.Started].
func CheckStarted(r Reader, libraries []*Library, a Auxv, list func() ([]*Library, error)) error {
	i := slices.IndexFunc(libraries, func(l *Library) bool { return l.Main })
	if i < 0 || a.Phdr == 0 { // the kernel is still at it, or the program's file was unmapped
		if a.Phdr == 0 {
			return ErrStarting
		}
		return nil
	}
	main := libraries[i]
	debug, err := debugOf(r, main, a)
	if err != nil || debug == nil {
		return err
	}
	done, err := debug.done(r)
	if err != nil {
		return err
	}
	if !done && a.Base == 0 && !slices.ContainsFunc(libraries, func(l *Library) bool { return l.Loader }) {
		return ErrStarting // a loader that was started as the program, and has none yet
	}
	missing, err := missing(r, libraries)
	if err != nil || !missing {
		return err
	}
	if !done {
		return ErrStarting
	}
	now, err := list() // the loader may have come to an end since the list was made
	if err == nil && len(now) != len(libraries) {
		err = ErrStarting
	}
	return err
}

// missing reports whether one of the libraries needs one that is not among them.
func missing(r Reader, libraries []*Library) (bool, error) {
	for _, l := range libraries {
		if l.dynamic == nil || l.Problem != nil {
			continue
		}
		names, err := l.needed(r, l.dynamic)
		if err != nil && !Local(err) {
			return false, err
		}
		for _, name := range names {
			if !slices.ContainsFunc(libraries, func(l *Library) bool { return l.SONAME == name || l.Name == path.Base(name) }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// debugPointer is the address of the loader's struct r_debug; 0 if the loader has not told yet.
type debugPointer uint64

// debugOf returns where the program's loader has its list; nil for a program without a loader.
func debugOf(r Reader, main *Library, a Auxv) (*debugPointer, error) {
	var at debugPointer
	if a.Base == 0 {
		if main.Problem != nil || main.SONAME == "" {
			return nil, nil // a static program
		}
		s, err := openSymbols(r, main)
		var sym Symbol
		if err == nil {
			sym, err = s.lookup(r, debugSymbol, "")
		}
		if errors.Is(err, ulp.ErrNoSymbol) || errors.Is(err, ulp.ErrUnsupported) || err != nil && Local(err) {
			return nil, nil // a library that can be run, and is no loader
		}
		at = debugPointer(sym.Addr)
		return &at, err
	}
	if main.dynamic == nil {
		return nil, nil
	}
	b := make([]byte, main.dynamic.size)
	if err := readFull(r, b, main.dynamic.addr); err != nil {
		return nil, err
	}
	eachDynamic(b, layouts[main.Class], func(tag elf.DynTag, value uint64) {
		if tag == elf.DT_DEBUG {
			at = debugPointer(value)
		}
	})
	return &at, nil
}

// done reports whether the loader says that its list is complete.
func (at debugPointer) done(r Reader) (bool, error) {
	if at == 0 {
		return false, nil
	}
	const version, state, size = 0, 24, 32
	var b [size]byte
	if err := readFull(r, b[:], uint64(at)); err != nil {
		if Local(err) {
			return false, nil
		}
		return false, err
	}
	return le.Uint32(b[version:]) != 0 && le.Uint32(b[state:]) == 0, nil
}
