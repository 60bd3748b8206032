package rtld

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Definitions returns all symbols of that name that the library defines for others, one for each
// version. There are none of a private function. The error is that of [Symbols.Lookup], but for
// [ulp.ErrNoSymbol].
func (s *Symbols) Definitions(ctx context.Context, name string) ([]Symbol, error) {
	return look(ctx, s, "symbol", func(r Reader) ([]Symbol, error) {
		var list []Symbol
		err := s.table.candidates(r, name, func(i uint64) (bool, error) {
			sym, ok, err := s.row(r, i, name)
			if ok && err == nil {
				list = append(list, sym)
			}
			return false, err
		})
		return list, err
	})
}

// qualified returns the name with its version, as readelf prints it.
func (s Symbol) qualified() string {
	switch {
	case s.Version == "":
		return s.Name
	case s.Hidden:
		return s.Name + "@" + s.Version
	}
	return s.Name + "@@" + s.Version
}

// CheckReplaced returns why a live patch that replaces these functions of the library must not be
// applied: one of them is not where the live patch has it ([ulp.ErrNoSymbol]), or it is one of
// several versions of that name, and the others would stay as they are ([ulp.ErrAmbiguous])
// although the live patch does not name a version. What the library does not export is not judged.
func (s *Symbols) CheckReplaced(ctx context.Context, functions []ulp.Function) error {
	replaced := map[uint64]bool{}
	for _, f := range functions {
		replaced[s.l.Bias+f.OldValue] = true
	}
	for _, f := range functions {
		base, version := symtab.SplitVersion(f.Old)
		list, err := s.Definitions(ctx, base)
		if err != nil {
			return err
		}
		if err := checkReplaced(f.Old, version, s.l.Bias+f.OldValue, list, replaced); err != nil {
			return fmt.Errorf("%q of %s: %w", f.Old, s.l.Name, err)
		}
	}
	return nil
}

func checkReplaced(name, version string, at uint64, list []Symbol, replaced map[uint64]bool) error {
	if version != "" {
		list = slices.DeleteFunc(list, func(s Symbol) bool {
			return s.Version != version || s.Hidden && strings.Contains(name, "@@")
		})
		if len(list) == 0 {
			return fmt.Errorf("%w: the library in the process has no such version", ulp.ErrNoSymbol)
		}
	}
	if len(list) > 0 && !slices.ContainsFunc(list, func(s Symbol) bool { return s.Addr == at }) {
		return fmt.Errorf("%w where the live patch has it", ulp.ErrNoSymbol)
	}
	if !slices.ContainsFunc(list, func(s Symbol) bool { return !replaced[s.Addr] }) {
		return nil
	}
	var names []string
	for _, s := range list {
		names = append(names, s.qualified())
	}
	slices.Sort(names)
	return fmt.Errorf("%w: the library has %s, and the live patch replaces only one of them; it "+
		"must be packed for all, or name the version",
		ulp.ErrAmbiguous, strings.Join(names, ", "))
}
