package native

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// scope finds symbols for one container in one process.
//
// The order is the dynamic loader's for a library that dlopen loads: the global scope, then the scope of its own. The
// latter is taken to be that of the target, as if the container were a part of it. Two things are different: what the container
// defines, it means, even if the program has something of that name; and a library that nobody needs but the container itself is
// not looked at, since nothing would keep dlclose from unloading it.
type scope struct {
	v      *view
	target *rtld.Library
	order  []*module // nil: not needed yet
	found  map[rtld.Reference]binding
}

// binding is a symbol and the library that has it.
type binding struct {
	lib *rtld.Library
	sym rtld.Symbol
}

// scopeFor returns the scope of a container for a target. The loader's list is read at the first look-up: a container that
// needs no symbols can do without.
func (v *view) scopeFor(target *rtld.Library) *scope {
	return &scope{v: v, target: target, found: map[rtld.Reference]binding{}}
}

// open puts the libraries in order.
func (s *scope) open(ctx context.Context) error {
	if s.order != nil {
		return nil
	}
	space, mod, err := s.v.module(ctx, s.target)
	if err != nil {
		return err
	}
	s.order = space.global()
	for _, m := range space.closure(mod) {
		if !slices.Contains(s.order, m) {
			s.order = append(s.order, m)
		}
	}
	return nil
}

// lookup finds a symbol. ulp.ErrNoSymbol: there is none.
func (s *scope) lookup(ctx context.Context, ref rtld.Reference) (binding, error) {
	if b, ok := s.found[ref]; ok {
		if b.lib == nil {
			return b, ulp.ErrNoSymbol
		}
		return b, nil
	}
	if err := s.open(ctx); err != nil {
		return binding{}, err
	}
	for _, m := range s.order {
		sym, err := s.in(ctx, m.lib, ref)
		if err == nil {
			s.found[ref] = binding{m.lib, sym}
			return s.found[ref], nil
		}
		if !errors.Is(err, ulp.ErrNoSymbol) && !errors.Is(err, process.ErrMalformed) {
			return binding{}, err
		}
	}
	s.found[ref] = binding{}
	return binding{}, ulp.ErrNoSymbol
}

// in looks a symbol up in one library.
func (s *scope) in(ctx context.Context, l *rtld.Library, ref rtld.Reference) (rtld.Symbol, error) {
	k, err := s.v.known(ctx, l)
	if err != nil {
		return rtld.Symbol{}, err
	}
	if k != nil {
		if sym, err, ok := k.symbol(ctx, ref, l.Bias-k.file.Library().Bias); ok {
			return sym, err
		}
	}
	symbols, err := s.v.symbolsOf(ctx, l)
	if err != nil {
		return rtld.Symbol{}, err
	}
	if symbols == nil {
		return rtld.Symbol{}, ulp.ErrNoSymbol
	}
	return symbols.Bind(ctx, ref)
}

// address returns what a reference to the symbol has to be: for an indirect function, what its resolver once chose.
func (s *scope) address(ctx context.Context, b binding) (uint64, error) {
	switch {
	case b.sym.Type == elf.STT_TLS:
		return 0, fmt.Errorf("%q is thread-local: %w", b.sym.Name, ErrUnresolved)
	case b.sym.Absolute:
		moved, err := s.v.movesAbsolute(ctx)
		if moved {
			return b.sym.Addr + b.lib.Bias, err
		}
		return b.sym.Addr, err
	case b.sym.Type == elf.STT_GNU_IFUNC && !b.sym.Undefined:
		return s.v.chosen(ctx, b)
	}
	return b.sym.Addr, nil
}

// movesAbsolute says whether the process's dynamic loader moves what a symbol has that is no address (SHN_ABS) with the library:
// that of glibc does so no more since 2.28.
func (v *view) movesAbsolute(ctx context.Context) (bool, error) {
	if err := v.readSpaces(ctx); err != nil {
		return false, err
	}
	for _, m := range v.modules() {
		if m.lib.SONAME != libcName {
			continue
		}
		symbols, err := v.symbolsOf(ctx, m.lib)
		if err != nil {
			return false, err
		}
		return symbols == nil || !symbols.Defines("GLIBC_2.28"), nil
	}
	return true, nil
}
