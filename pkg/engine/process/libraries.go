package process

import (
	"context"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// Libraries opens the memory of the process and returns its libraries; see [Memory.Libraries].
func (p *Process) Libraries(ctx context.Context) ([]*rtld.Library, error) {
	m, err := p.Memory(ctx)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return m.Libraries(ctx)
}

// Libraries returns the ELF images that are loaded from files, in ascending order of address:
// programs and libraries, also those whose file was deleted or replaced, that are in memory files,
// or in another mount namespace. The vDSO is not from a file. An image that is malformed is in the
// list, with its Problem, as far as it could be understood.
//
// The error is a [*LookError]: [ErrGone], [ErrChanged], or [ErrLimit] for more than 2,048 images or
// 16,384 mappings of files that have code.
func (m *Memory) Libraries(ctx context.Context) ([]*rtld.Library, error) {
	return with(ctx, m, "maps", func() ([]*rtld.Library, error) { return m.libraries(ctx) })
}

func (m *Memory) libraries(ctx context.Context) ([]*rtld.Library, error) {
	maps, all, err := m.readMappings()
	if err != nil {
		return nil, err
	}
	a := m.p.auxv
	if a == nil {
		if a, err = m.dir.auxv(); err != nil {
			return nil, err
		}
	}
	list, err := rtld.FindLibraries(ctx, reader{m}, maps, a.loader())
	if err != nil {
		return nil, err
	}
	if err := m.intact(); err != nil { // maps, auxv and memory are of one program
		return nil, err
	}
	m.mu.Lock()
	m.mapped = all
	m.mu.Unlock()
	return list, nil
}

// Symbols opens the symbol table of one of the memory's libraries. The error is a [*LookError] that
// wraps that of [rtld.OpenSymbols].
func (m *Memory) Symbols(ctx context.Context, l *rtld.Library) (*rtld.Symbols, error) {
	return rtld.OpenSymbols(ctx, m, l)
}
