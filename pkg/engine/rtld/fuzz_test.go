package rtld

import (
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// checkResult is the invariant of every parser: a result or an error, and the error is one of ours.
func checkResult(t *testing.T, hasResult bool, err error) {
	t.Helper()
	if hasResult == (err != nil) {
		t.Fatalf("result %v with error %v", hasResult, err)
	}
	if err != nil && !Local(err) {
		t.Fatalf("error of another kind: %v", err)
	}
}

// FuzzImage takes its input for the memory of a library that is mapped as a whole, and uses
// everything in it.
func FuzzImage(f *testing.F) {
	for _, lie := range forged.Lies {
		f.Add(forged.Library(lie.Changes...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || len(in) > 1<<16 {
			return
		}
		m, list, err := fakeLibraries(t, in)
		if err != nil {
			checkResult(t, list != nil, err)
			return
		}
		for _, l := range list {
			s, err := openSymbols(m, l)
			if err != nil {
				if s != nil || !Local(err) && !errors.Is(err, symtab.ErrUnsupported) {
					t.Fatal(s, err)
				}
				continue
			}
			for _, name := range []string{"trigger", "state", ""} {
				for _, version := range []string{"", "V1"} {
					sym, err := s.bind(m, Reference{Name: name, Version: version, Entry: true})
					if err != nil && (sym != Symbol{} || !Local(err) &&
						!errors.Is(err, ulp.ErrNoSymbol)) {
						t.Fatal(sym, err)
					}
				}
				sym, err := s.lookup(m, name, "")
				if err != nil && (sym != Symbol{} || !Local(err) &&
					!errors.Is(err, ulp.ErrNoSymbol)) {
					t.Fatal(sym, err)
				}
			}
			if n, err := s.table.count(m); err == nil && n > 1 {
				rows, err := s.rows(m, 1, min(n, 1+batch))
				if err != nil {
					checkResult(t, rows != nil, err)
				}
			}
			if needed, err := l.needed(m, s.d); err != nil {
				checkResult(t, needed != nil, err)
			}
		}
	})
}
