package process

import (
	"context"
	"errors"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// A program can be started by naming the dynamic loader: "ld.so ./program". For the kernel the loader is the program then:
// exe, the auxiliary vector and the name of the process are the loader's. Which program it is, the loader tells debuggers:
// it is the first entry of the list of what is loaded.

// debugSymbol is the loader's struct r_debug: version, list, ... (link.h). An entry (struct link_map) is bias, name and
// dynamic section, ...
const debugSymbol = "_r_debug"

// markStarted sets Main and Loader right where the kernel has started the dynamic loader as the program. Until the loader
// has the program in its list, and if what it says is not true, the loader remains the program.
func markStarted(r reader, list []*Library, a *auxv) error {
	if a.base != 0 {
		return nil // the kernel started a program, which has the loader as its interpreter
	}
	i := slices.IndexFunc(list, func(l *Library) bool { return l.Main })
	if i < 0 || list[i].Problem != nil || list[i].SONAME == "" {
		return nil // a static program is nobody's library
	}
	program, err := startedBy(r, list[i], list)
	switch {
	case err != nil && !local(err) && !errors.Is(err, ulp.ErrNoSymbol) && !errors.Is(err, ulp.ErrUnsupported):
		return err
	case program != nil:
		list[i].Main, list[i].Loader, program.Main = false, true, true
	}
	return nil
}

// startedBy returns the image that a loader has as its program, nil if there is none yet.
func startedBy(r reader, loader *Library, list []*Library) (*Library, error) {
	s, err := openSymbols(newPages(r), loader)
	if err != nil {
		return nil, err
	}
	debug, err := s.lookup(newPages(r), debugSymbol, "")
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

// startedProgram finds the program that the loader was started with, if the process's own is a loader; else it returns nil.
func (p *Process) startedProgram(ctx context.Context, live dir, a *auxv) (*Library, error) {
	if a.base != 0 || a.phdr == 0 || a.bits32 {
		return nil, nil
	}
	m := &Memory{p: p, dir: live}
	var err error
	if m.file, err = live.Open("mem", procfs.ReadOnly); err != nil {
		return nil, err
	}
	defer m.file.Close()
	var im image
	first := Mapping{Start: pageDown(a.phdr), End: pageDown(a.phdr) + pageSize}
	switch err := im.read(m, &first, make([]byte, headBytes)); {
	case errors.Is(err, errNotELF), err != nil && local(err), err == nil && im.dynamic == (span{}):
		return nil, nil // a static program: nearly all that come here
	case err != nil:
		return nil, err
	}
	maps, _, err := m.readMappings()
	var list []*Library
	if err == nil {
		list, err = findLibraries(ctx, m, maps, a)
	}
	if err != nil && local(err) {
		return nil, nil // who asks for the libraries is told
	}
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(l *Library) bool { return l.Main })
	if i < 0 || !slices.ContainsFunc(list, func(l *Library) bool { return l.Loader }) {
		return nil, nil
	}
	return list[i], nil
}
