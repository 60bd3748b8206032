package rtld

import (
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// debugSymbol is the loader's struct r_debug: version, list, ... (link.h). An entry (struct link_map) is bias, name and
// dynamic section, ...
const debugSymbol = "_r_debug"

// markStarted sets Main and Loader right where the kernel has started the dynamic loader as the program. Until the loader
// has the program in its list, and if what it says is not true, the loader remains the program.
func markStarted(r Reader, list []*Library, a Auxv) error {
	if a.Base != 0 {
		return nil // the kernel started a program, which has the loader as its interpreter
	}
	i := slices.IndexFunc(list, func(l *Library) bool { return l.Main })
	if i < 0 || list[i].Problem != nil || list[i].SONAME == "" {
		return nil // a static program is nobody's library
	}
	program, err := startedBy(r, list[i], list)
	switch {
	case err != nil && !Local(err) && !errors.Is(err, ulp.ErrNoSymbol) && !errors.Is(err, ulp.ErrUnsupported):
		return err
	case program != nil:
		list[i].Main, list[i].Loader, program.Main = false, true, true
	}
	return nil
}

// startedBy returns the image that a loader has as its program, nil if there is none yet.
func startedBy(r Reader, loader *Library, list []*Library) (*Library, error) {
	s, err := openSymbols(NewPages(r), loader)
	if err != nil {
		return nil, err
	}
	debug, err := s.lookup(NewPages(r), debugSymbol, "")
	if err != nil {
		return nil, err
	}
	var b [24]byte
	if err := readFull(r, b[:16], debug.Addr); err != nil || le.Uint32(b[:]) == 0 {
		return nil, err
	}
	first := le.Uint64(b[8:])
	if err := readFull(r, b[:], first); err != nil {
		return nil, err
	}
	bias, at := le.Uint64(b[:]), le.Uint64(b[16:])
	i := slices.IndexFunc(list, func(l *Library) bool {
		return l != loader && l.dynamic != nil && l.Bias == bias && l.dynamic.addr == at
	})
	if i < 0 {
		return nil, nil
	}
	return list[i], nil
}
