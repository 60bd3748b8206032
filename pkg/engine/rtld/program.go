package rtld

import (
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// A program can be started by naming the dynamic loader: "ld.so ./program". For the kernel the
// loader is the program then: the auxiliary vector is the loader's. The first entry of the loader's
// list is the program.

// markStarted sets Main and Loader right where the kernel has started the dynamic loader as the
// program. Until the loader has the program in its list, and if what it says is not true, the
// loader remains the program.
func markStarted(r Reader, list []*Library, a Auxv) error {
	if a.Base != 0 {
		return nil // the kernel started a program, which has the loader as its interpreter
	}
	i := slices.IndexFunc(list, func(l *Library) bool { return l.Main })
	if i < 0 || list[i].Problem != nil || list[i].SONAME == "" {
		return nil // nothing links against a static program
	}
	program, err := startedBy(r, list[i], list)
	switch {
	case err != nil && !Local(err) && !errors.Is(err, ulp.ErrNoSymbol) &&
		!errors.Is(err, symtab.ErrUnsupported):
		return err
	case program != nil:
		list[i].Main, list[i].Loader, program.Main = false, true, true
	}
	return nil
}

// startedBy returns the image that a loader has as its program, nil if there is none yet.
func startedBy(r Reader, loader *Library, list []*Library) (*Library, error) {
	p := NewPages(r)
	defer p.Done()
	s, err := openSymbols(p, loader)
	if err != nil {
		return nil, err
	}
	debug, err := s.lookup(p, debugSymbol, "")
	if err != nil {
		return nil, err
	}
	d, err := readRDebug(r, debug.Addr)
	if err != nil || d.version == 0 {
		return nil, err
	}
	first, err := readLinkEntry(r, d.linkMap)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(l *Library) bool {
		return l != loader && l.dynamic != nil && l.Bias == first.bias &&
			l.dynamic.addr == first.dynamic
	})
	if i < 0 {
		return nil, nil
	}
	return list[i], nil
}
