package rtld

import (
	"debug/elf"
	"errors"
	"path"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// ErrStarting means that the dynamic loader has not loaded yet what the program needs, as just
// after exec: which libraries the process has is not known before a moment later.
var ErrStarting = errors.New("the program is just starting: its libraries are not all loaded yet")

// CheckStarted returns an [ErrStarting] if the loader has not loaded all that is needed. list lists
// the libraries anew: see [process.Memory.Started].
func CheckStarted(r Reader, libraries []*Library, a Auxv, list func() ([]*Library, error)) error {
	i := slices.IndexFunc(libraries, func(l *Library) bool { return l.Main })
	if i < 0 || a.Phdr == 0 { // the kernel is still at it, or the program's file was unmapped
		if a.Phdr == 0 {
			return ErrStarting
		}
		return nil
	}
	main := libraries[i]
	debug, ok, err := debugOf(r, main, a)
	if err != nil || !ok {
		return err
	}
	done, err := complete(r, debug)
	if err != nil {
		return err
	}
	if !done && a.Base == 0 && !slices.ContainsFunc(libraries, func(l *Library) bool {
		return l.Loader
	}) {
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
			if !slices.ContainsFunc(libraries, func(l *Library) bool {
				return l.SONAME == name || l.Name == path.Base(name)
			}) {
				return true, nil
			}
		}
	}
	return false, nil
}

// debugOf returns where the program's loader has its struct r_debug, 0 if the loader has not told
// yet; ok is false for a program without a loader.
func debugOf(r Reader, main *Library, a Auxv) (addr uint64, ok bool, err error) {
	if a.Base == 0 {
		if main.Problem != nil || main.SONAME == "" {
			return 0, false, nil // a static program
		}
		s, err := openSymbols(r, main)
		var sym Symbol
		if err == nil {
			sym, err = s.lookup(r, debugSymbol, "")
		}
		if errors.Is(err, ulp.ErrNoSymbol) || errors.Is(err, symtab.ErrUnsupported) || err != nil &&
			Local(err) {
			return 0, false, nil // a library that can be run, and is no loader
		}
		return sym.Addr, true, err
	}
	if main.dynamic == nil {
		return 0, false, nil
	}
	err = main.eachEntry(r, func(tag elf.DynTag, value uint64) {
		if tag == elf.DT_DEBUG {
			addr = value
		}
	})
	return addr, true, err
}

// complete reports whether the loader says that its list is complete.
func complete(r Reader, debug uint64) (bool, error) {
	if debug == 0 {
		return false, nil
	}
	d, err := readRDebug(r, debug)
	if err != nil && Local(err) {
		return false, nil
	}
	return d.complete(), err
}
