package native

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// maxProofs is how many functions of a library are tried until one can be replaced. Of a stock
// library most can.
const maxProofs = 64

// Replaceable reports whether a library has a function that others can call and that a live patch
// with [symtab.EntriesAny] can replace. The error is ErrNoLoader for a library that no plan is made
// for, or that of looking into the process.
func (v *View) Replaceable(ctx context.Context, l *rtld.Library) (bool, error) {
	switch {
	case l.Problem != nil || l.Machine != elf.EM_X86_64 || l.Class != elf.ELFCLASS64 ||
		len(l.BuildID) == 0 || l.Loader:
		return false, nil
	case !l.Main && !v.v.hasLoader():
		return false, fmt.Errorf("%s: %w", l.Name, ErrNoLoader)
	}
	return process.Whole(ctx, func(ctx context.Context) (bool, error) {
		return v.replaceable(ctx, l)
	})
}

func (v *View) replaceable(ctx context.Context, l *rtld.Library) (bool, error) {
	symbols, err := v.v.loaded.Symbols(ctx, l)
	if err != nil || symbols == nil {
		return false, err
	}
	b := &planner{Plan: &Plan{p: v.v.p}, v: v.v, st: v.st, texts: map[uint64]*hotpatch.Text{}}
	anything, tried := &Patch{Meta: &ulp.Metadata{}, Entries: symtab.EntriesAny}, 0
	for s, err := range symbols.All(ctx) {
		if err != nil || tried == maxProofs {
			return false, err
		}
		if s.Type != elf.STT_FUNC || s.Addr == 0 || !l.Contains(s.Addr, 1) {
			continue
		}
		tried++
		_, err := b.site(ctx, l, anything, ulp.Function{Old: s.Name, OldValue: s.Addr - l.Bias})
		if err == nil || errors.Is(err, ErrForeign) {
			return true, nil
		}
		if !errors.Is(err, ErrEntry) {
			return false, err
		}
	}
	return false, nil
}
