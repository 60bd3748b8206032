package process

import (
	"context"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// A program can be started by naming the dynamic loader: "ld.so ./program". For the kernel the
// loader is the program then: exe, the auxiliary vector and the name of the process are the
// loader's. Which program it is, the loader tells debuggers: it is the first entry of the list of
// what is loaded.

// startedProgram finds the program that the loader was started with, if the process's own is a
// loader; else it returns nil.
func (p *Process) startedProgram(ctx context.Context, live dir, a *auxv) (*rtld.Library, error) {
	if a.base != 0 || a.phdr == 0 || a.bits32 {
		return nil, nil
	}
	m := &Memory{p: p, dir: live}
	var err error
	if m.file, err = live.Open("mem", procfs.ReadOnly); err != nil {
		return nil, err
	}
	defer m.file.Close()
	if dynamic, err := rtld.IsDynamic(reader{m}, a.phdr); !dynamic || err != nil {
		return nil, err // a static program: nearly all that come here
	}
	maps, _, err := m.readMappings()
	var list []*rtld.Library
	if err == nil {
		list, err = rtld.FindLibraries(ctx, reader{m}, maps, a.loader())
	}
	if err != nil && rtld.Local(err) {
		return nil, nil // Libraries reports it
	}
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(l *rtld.Library) bool { return l.Main })
	if i < 0 || !slices.ContainsFunc(list, func(l *rtld.Library) bool { return l.Loader }) {
		return nil, nil
	}
	return list[i], nil
}
