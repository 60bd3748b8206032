package rtld

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Scope finds symbols for one container in one process.
//
// The order is the dynamic loader's for a library that dlopen loads: the global scope, then the
// scope of its own. The latter is taken to be that of the target, as if the container were a part
// of it. Two things are different: what the container defines, it means, even if the program has
// something of that name; and a library that nobody needs but the container itself is not looked
// at, since nothing would keep dlclose from unloading it.
type Scope struct {
	m      *LinkMaps
	target *Library
	order  []*LinkMap // nil: not needed yet
	found  map[Reference]Binding
}

// Binding is a symbol and the library that has it.
type Binding struct {
	Library *Library
	Symbol  Symbol
}

// Scope returns the scope of a container for a target. The loader's list is read at the first
// look-up: a container that needs no symbols can do without.
func (m *LinkMaps) Scope(target *Library) *Scope {
	return &Scope{m: m, target: target, found: map[Reference]Binding{}}
}

// LinkMaps returns what the scope is a part of.
func (s *Scope) LinkMaps() *LinkMaps { return s.m }

// open puts the libraries in order.
func (s *Scope) open(ctx context.Context) error {
	if s.order != nil {
		return nil
	}
	space, lm, err := s.m.Find(ctx, s.target)
	if err != nil {
		return err
	}
	s.order = space.global()
	for _, m := range space.closure(lm) {
		if !slices.Contains(s.order, m) {
			s.order = append(s.order, m)
		}
	}
	return nil
}

// Lookup finds a symbol. The error wraps [ulp.ErrNoSymbol] if there is none, or is that of
// [LinkMaps.Namespaces].
func (s *Scope) Lookup(ctx context.Context, ref Reference) (Binding, error) {
	if b, ok := s.found[ref]; ok {
		if b.Library == nil {
			return b, ulp.ErrNoSymbol
		}
		return b, nil
	}
	if err := s.open(ctx); err != nil {
		return Binding{}, err
	}
	for _, m := range s.order {
		sym, err := s.in(ctx, m.Library, ref)
		if err == nil {
			s.found[ref] = Binding{m.Library, sym}
			return s.found[ref], nil
		}
		if !errors.Is(err, ulp.ErrNoSymbol) && !errors.Is(err, ErrMalformed) {
			return Binding{}, err
		}
	}
	s.found[ref] = Binding{}
	return Binding{}, ulp.ErrNoSymbol
}

// Libraries returns the libraries in which symbols were found.
func (s *Scope) Libraries() []*Library {
	var list []*Library
	for _, b := range s.found {
		if b.Library != nil && !slices.Contains(list, b.Library) {
			list = append(list, b.Library)
		}
	}
	return list
}

// in looks a symbol up in one library.
func (s *Scope) in(ctx context.Context, l *Library, ref Reference) (Symbol, error) {
	if s.m.facts != nil {
		if sym, ok, err := s.m.facts.Bind(ctx, l, ref); ok || err != nil {
			return sym, err
		}
	}
	symbols, err := s.m.Symbols(ctx, l)
	if err != nil {
		return Symbol{}, err
	}
	if symbols == nil {
		return Symbol{}, ulp.ErrNoSymbol
	}
	return symbols.Bind(ctx, ref)
}

// Address returns what a reference to the symbol has to be: for an indirect function, what its
// resolver once chose.
func (s *Scope) Address(ctx context.Context, b Binding) (uint64, error) {
	switch {
	case b.Symbol.Type == elf.STT_TLS:
		return 0, fmt.Errorf("%q is thread-local: %w", b.Symbol.Name, ErrUnresolved)
	case b.Symbol.Absolute:
		moved, err := s.m.MovesAbsolute(ctx)
		if moved {
			return b.Symbol.Addr + b.Library.Bias, err
		}
		return b.Symbol.Addr, err
	case b.Symbol.Type == elf.STT_GNU_IFUNC && !b.Symbol.Undefined:
		return s.m.Implementation(ctx, b)
	}
	return b.Symbol.Addr, nil
}

// MovesAbsolute reports whether the process's dynamic loader moves what a symbol has that is no
// address (SHN_ABS) with the library: that of glibc does so no more since 2.28.
func (m *LinkMaps) MovesAbsolute(ctx context.Context) (bool, error) {
	if _, err := m.Namespaces(ctx); err != nil {
		return false, err
	}
	for _, lm := range m.all() {
		if lm.Library.SONAME != libcName {
			continue
		}
		symbols, err := m.Symbols(ctx, lm.Library)
		if err != nil {
			return false, err
		}
		return symbols == nil || !symbols.Defines("GLIBC_2.28"), nil
	}
	return true, nil
}
