package symtab

import (
	"errors"
	"maps"
	"slices"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// HasHandlers reports whether it is known which functions of the library handle exceptions or
// cancellation: it was read with [LibraryOptions].Prove, or from a catalogue of such a one, by the
// same rules. Of architectures that the native engine does not know it is false.
func (l *Library) HasHandlers() bool { return l.handlers != nil }

// Handlers returns why the function at an address must not be replaced by code that the unwinder
// does not find: it handles exceptions, or has something to clean up when its thread is cancelled,
// so that both are expected to pass through; "" if nothing is known against it. libpulp's
// containers are found, those of the native engine are not: see package native.
func (l *Library) Handlers(addr uint64) (why string) {
	why, _ = l.handlers.find(addr)
	return why
}

// findHandlers asks the unwind information about functions. Those without handlers are not noted.
func (p *prover) findHandlers(functions map[uint64]bool) proofs {
	byWhy := map[string][]uint64{}
	if p.frames != nil {
		for _, addr := range slices.Sorted(maps.Keys(functions)) {
			if why := whyNot(p.frames.Handlers(addr)); why != "" {
				byWhy[why] = append(byWhy[why], addr)
			}
		}
	}
	return proofsOf(byWhy)
}

// HandlesAt reports whether the function at an address of an ELF file handles exceptions or
// cancellation. Code in C does so only if it was compiled with -fexceptions.
func HandlesAt(f *elfx.File, addr uint64) (bool, error) {
	p, err := newProver(f)
	switch {
	case err != nil:
		return false, AsFormatError(err)
	case p.frames == nil:
		return false, nil
	}
	if err = p.frames.Handlers(addr); errors.Is(err, hotpatch.ErrHandlers) {
		return true, nil
	}
	if errors.Is(err, hotpatch.ErrFrame) { // no other reader would find them either
		return false, nil
	}
	return false, err
}
