package inject

import (
	"fmt"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/prove"
)

// codeSite proves that a jump of five bytes may be written at the beginning of a function without NOPs, or says why not:
// the error wraps ErrEntry. code is the whole function, from its symbol on and as long as that says, and addr its address.
//
// It is the proof of which catalogues have the results ([ulp.Library.EntryProof]), so that the gate of a build and the engine
// agree; see there, and package prove, for what is proven. What only a running process shows is looked at there: that no
// thread stands inside.
func codeSite(code []byte, addr uint64) (*site, error) {
	p, err := prove.Entry(code, addr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	}
	s := &site{entry: addr, kind: kindCode, landing: p.Landing, n: p.N}
	copy(s.at[:s.n], code[p.Off():])
	return s, nil
}

// moved returns the instructions that a detour replaces, to be carried out at to, and a jump to what follows them.
// The place must be near enough if they have addresses relative to themselves.
func (s *site) moved(to uint64) ([]byte, error) {
	out, ok, err := prove.Moved(s.at[:s.n], s.place(), to)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrEntry, err)
	case !ok:
		return nil, ErrNoRoom
	}
	return le.AppendUint64(append(out, absolute...), s.resume()), nil
}
