package rtld

import (
	"context"
	"debug/elf"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Reference is what an object asks its dynamic loader for.
type Reference struct {
	Name    string
	Version string // "" if it asks for none
	// Entry says that an address is asked for, not something to be called: of a function whose
	// address the program takes, that is for everybody the place in the program where calls of it
	// begin (PLT).
	Entry bool
}

// Bind finds what glibc's dynamic loader binds a reference to if it gets as far as this library.
// That differs from [Symbols.Lookup], which is dlsym's, where versions are involved: a reference
// without a version means the oldest of several. What is found is what the table says, wherever
// that leads. The error is that of Lookup.
func (s *Symbols) Bind(ctx context.Context, ref Reference) (Symbol, error) {
	return look(ctx, s, "symbol", func(r Reader) (Symbol, error) { return s.bind(r, ref) })
}

func (s *Symbols) bind(r Reader, ref Reference) (Symbol, error) {
	var found, newer *Symbol
	several := false
	err := s.table.candidates(r, ref.Name, func(i uint64) (bool, error) {
		b, ok, err := s.named(r, i, ref.Name)
		if err != nil || !ok || !bindable(b[:], ref) {
			return false, err
		}
		sym := s.raw(b[:], ref.Name)
		fits, isNewer, err := s.suits(r, i, &sym, ref)
		switch {
		case err != nil:
			return false, err
		case fits:
			found = &sym
		case isNewer && newer == nil:
			newer = &sym
		case isNewer:
			several = true
		}
		return fits, nil
	})
	if err != nil {
		return Symbol{}, err
	}
	if found == nil && !several { // of what has only newer versions, the only one
		found = newer
	}
	if found == nil {
		return Symbol{}, ulp.ErrNoSymbol
	}
	return *found, nil
}

// bindable reports whether a row is something that a reference can be bound to, whatever its
// version.
func bindable(b []byte, ref Reference) bool {
	section, kind := elf.SectionIndex(le.Uint16(b[6:])), elf.ST_TYPE(b[4])
	switch kind {
	case elf.STT_NOTYPE, elf.STT_OBJECT, elf.STT_FUNC, elf.STT_COMMON, elf.STT_TLS,
		elf.STT_GNU_IFUNC:
	default:
		return false
	}
	if section == elf.SHN_UNDEF && !ref.Entry || le.Uint64(b[8:]) == 0 && section != elf.SHN_ABS &&
		kind != elf.STT_TLS {
		return false
	}
	return visible(b[5]) && elf.ST_BIND(b[4]) != elf.STB_LOCAL
}

// raw makes a Symbol of a row, without its version.
func (s *Symbols) raw(b []byte, name string) Symbol {
	section := elf.SectionIndex(le.Uint16(b[6:]))
	sym := Symbol{Name: name, Type: elf.ST_TYPE(b[4]), Bind: elf.ST_BIND(b[4]),
		Addr: le.Uint64(b[8:]), Size: le.Uint64(b[16:]), Absolute: section == elf.SHN_ABS,
		Undefined: section == elf.SHN_UNDEF}
	if !sym.Absolute && sym.Type != elf.STT_TLS {
		sym.Addr += s.l.Bias
	}
	return sym
}

// suits reports whether a row has the version that a reference asks for, and fills it in. Versions
// have numbers in their library, the first of which are its own name (1) and the oldest one (2):
// that is what a reference without a version means, since it may come from a time when there were
// no others. newer says that it would only do if there is no other.
func (s *Symbols) suits(r Reader, i uint64, sym *Symbol, ref Reference) (fits, newer bool,
	err error) {
	if s.d.versym == 0 { // good for everyone
		return true, false, nil
	}
	raw, err := s.version(r, i)
	if err != nil {
		return false, false, err
	}
	index := raw & versionBits
	if sym.Version, err = s.versionName(r, index); err != nil {
		return false, false, err
	}
	switch sym.Hidden = raw&hiddenBit != 0; {
	case ref.Version != "":
		return sym.Version == ref.Version || sym.Version == "" && !sym.Hidden, false, nil
	case index <= oldestVersion:
		return true, false, nil
	}
	return false, !sym.Hidden, nil
}

// oldestVersion is the number of the first version that a library defines.
const oldestVersion = 2

// versionName returns the name of a version that the library defines, or needs: a program has
// copies of variables of its libraries (COPY relocations), and entries of their functions, by the
// versions that it needs.
func (s *Symbols) versionName(r Reader, index uint16) (string, error) {
	name, ok := s.versions[index]
	if ok || index < oldestVersion {
		return name, nil
	}
	return s.l.neededVersion(r, index)
}

// VersionOf returns the version that a row of the table has: the one that the library needs, if it
// does not define the symbol. "" if it has none. The error is that of Lookup.
func (s *Symbols) VersionOf(ctx context.Context, row uint64) (string, error) {
	return look(ctx, s, "symbol version", func(r Reader) (string, error) {
		if s.d.versym == 0 || row >= maxSymbols {
			return "", nil
		}
		raw, err := s.version(r, row)
		if err != nil {
			return "", err
		}
		return s.versionName(r, raw&versionBits)
	})
}

// Defines reports whether the library defines a version.
func (s *Symbols) Defines(version string) bool {
	for _, name := range s.versions {
		if name == version {
			return true
		}
	}
	return false
}
