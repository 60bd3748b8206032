package native

import (
	"fmt"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
)

// codeSite proves that a jump of five bytes may be written at the beginning of a function without
// NOPs, or says why not: the error wraps ErrEntry. The function is at an address of the text, and
// so long; addresses in errors are the library's own.
//
// It is the proof of which catalogues have the results ([symtab.Library.EntryProof]), so that the
// gate of a build and the engine agree; see there, and package hotpatch, for what is proven. What
// only a running process shows is looked at there: that no thread stands inside.
func codeSite(t *hotpatch.Text, entry, size, bias uint64) (*site, error) {
	p, err := t.Entry(entry, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, hotpatch.Moving(err, bias))
	}
	s := &site{entry: entry, kind: kindCode, landing: p.Landing, n: p.N}
	copy(s.at[:s.n], t.Code[s.place()-t.Addr:])
	return s, nil
}

// moved returns the instructions that a detour replaces, to be carried out at to, and what leads on
// from there. The place must be near enough.
func (s *site) moved(to uint64) ([]byte, error) {
	out, ok, err := hotpatch.Moved(s.at[:s.n], s.place(), to)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	case !ok:
		return nil, ErrNoRoom
	}
	return out, nil
}
