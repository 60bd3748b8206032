package native

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// relocated returns the container's memory as it has to be at base in the process. former are the
// addresses of the former code of the functions that it replaces.
func (p *Patch) relocated(ctx context.Context, s *rtld.Scope, target *rtld.Library, base uint64,
	former []uint64) ([]byte, error) {
	mem := slices.Clone(p.im.mem)
	for _, r := range p.relocations {
		v, err := p.value(ctx, s, r, base)
		if err != nil {
			return nil, err
		}
		le.PutUint64(mem[r.off:], v)
	}
	for i, r := range p.Meta.References {
		at := mem[p.pointers[i]:]
		if f := p.original(r); f >= 0 {
			le.PutUint64(at, former[f])
			continue
		}
		if !r.TLS {
			addr, err := s.LinkMaps().Variable(ctx, target, target.Bias+r.TargetOffset)
			if err != nil {
				return nil, fmt.Errorf("variable %q of %q: %w", r.Target, target.Name, err)
			}
			le.PutUint64(at, addr)
			continue
		}
		module, err := s.LinkMaps().TLSModule(ctx, target)
		if err != nil {
			return nil, fmt.Errorf("thread-local variable %q: %w", r.Target, err)
		}
		le.PutUint64(at, module)
		le.PutUint64(at[8:], r.TargetOffset)
	}
	return mem, nil
}

// original returns the number of the function whose former code a reference leads to, -1 if it is
// another reference.
func (p *Patch) original(r ulp.DataRef) int {
	if r.TLS || !ulp.IsOriginal(r.Reference) {
		return -1
	}
	return slices.IndexFunc(p.Meta.Functions, func(f ulp.Function) bool {
		return f.Old == r.Target
	})
}

// address reports whether the relocation asks for an address, not for something to be called or
// thread-local.
func (r *relocation) address() bool {
	return r.kind == elf.R_X86_64_GLOB_DAT || r.kind == elf.R_X86_64_64
}

// value computes what a relocation writes.
func (p *Patch) value(ctx context.Context, s *rtld.Scope, r relocation,
	base uint64) (uint64, error) {
	if r.kind == elf.R_X86_64_RELATIVE {
		return base + uint64(r.addend), nil
	}
	addend := r.addend
	if r.kind == elf.R_X86_64_GLOB_DAT || r.kind == elf.R_X86_64_JMP_SLOT {
		addend = 0
	}
	sym := p.symbols[r.symbol]
	switch {
	case sym.absolute:
		moved, err := s.LinkMaps().MovesAbsolute(ctx)
		if !moved {
			base = 0
		}
		return base + sym.value + uint64(addend), err
	case sym.defined, r.symbol == 0:
		return base + sym.value + uint64(addend), nil
	}
	b, err := s.Lookup(ctx, rtld.Reference{Name: sym.name, Version: sym.version,
		Entry: r.address()})
	if sym.weak && (errors.Is(err, ulp.ErrNoSymbol) || errors.Is(err, rtld.ErrStatic)) {
		return uint64(addend), nil
	}
	if errors.Is(err, ulp.ErrNoSymbol) {
		if sym.version != "" {
			return 0, fmt.Errorf("%s@%s: %w", sym.name, sym.version, ErrUnresolved)
		}
		return 0, fmt.Errorf("%s: %w", sym.name, ErrUnresolved)
	}
	if err != nil {
		return 0, err
	}
	switch r.kind {
	case elf.R_X86_64_DTPMOD64, elf.R_X86_64_DTPOFF64, elf.R_X86_64_TPOFF64:
		return s.TLSValue(ctx, b, r.kind, addend)
	}
	v, err := s.Address(ctx, b)
	return v + uint64(addend), err
}
