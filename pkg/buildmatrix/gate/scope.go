package gate

import (
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/download"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Exports is what the libraries of a build export, by SONAME.
type Exports map[string]*exported

// exported is what one library exports and needs.
type exported struct {
	needed []string // SONAMEs of the libraries that are loaded with it
	// "name@VERSION", "name", and "@VERSION" for each version that is defined
	symbols map[string]bool
}

// NewExports returns what the libraries of a build export, from its list in the catalogue.
func NewExports(list *download.ExportList) Exports {
	e := make(Exports, len(list.Libraries))
	for soname, lib := range list.Libraries {
		set := make(map[string]bool, 2*len(lib.Symbols)+16)
		for _, s := range lib.Symbols {
			set[s] = true
			if name, version, ok := strings.Cut(s, "@"); ok {
				set[name], set["@"+version] = true, true
			}
		}
		e[soname] = &exported{lib.Needed, set}
	}
	return e
}

// has reports whether the library, which may be nil, exports s.
func (e *exported) has(s string) bool { return e != nil && e.symbols[s] }

// loaderPrefixes begin the SONAMEs of dynamic loaders, which are in every process that libraries
// can be loaded into.
var loaderPrefixes = []string{"ld-linux", "ld64.so"}

func isLoader(soname string) bool {
	return slices.ContainsFunc(loaderPrefixes, func(p string) bool {
		return strings.HasPrefix(soname, p)
	})
}

// Scope is where the dynamic linker will find what a container needs: the library that is patched,
// the libraries that it needs, those that the container needs, and so on. A library that only lies
// in the same package may not be loaded.
type Scope struct {
	Target *symtab.Library
	own    Exports   // of the same build: exactly these will be there
	others []Exports // of the other packages' builds in the lock: any one of them may be there
	loaded []string  // SONAMEs, without the target's own, in the order of loading
}

// NewScope takes what the container needs.
func NewScope(needed []string, target *symtab.Library, own Exports, others []Exports) *Scope {
	s := &Scope{Target: target, own: own, others: others}
	queue := slices.Concat(target.Needed, needed)
	for _, e := range slices.Concat([]Exports{own}, others) {
		for soname := range e {
			if isLoader(soname) {
				queue = append(queue, soname)
			}
		}
	}
	met := map[string]bool{}
	for len(queue) > 0 {
		soname := queue[0]
		queue = queue[1:]
		if met[soname] || s.isTarget(soname) {
			continue
		}
		met[soname] = true
		s.loaded = append(s.loaded, soname)
		queue = append(queue, s.neededBy(soname)...)
	}
	return s
}

func (s *Scope) isTarget(soname string) bool {
	return soname == s.Target.SONAME || soname == s.Target.Name
}

// providers returns the library of that SONAME in each build that may provide it.
func (s *Scope) providers(soname string) []*exported {
	if e := s.own[soname]; e != nil {
		return []*exported{e}
	}
	var list []*exported
	for _, other := range s.others {
		if e := other[soname]; e != nil {
			list = append(list, e)
		}
	}
	return list
}

// neededBy returns what a library needs whichever build it comes from.
func (s *Scope) neededBy(soname string) []string {
	providers := s.providers(soname)
	if len(providers) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(providers[0].needed), func(needed string) bool {
		return !all(providers, func(e *exported) bool { return slices.Contains(e.needed, needed) })
	})
}

// provides reports whether the symbol ("name@VERSION" or "name") or version ("@VERSION") is there
// in whichever build has the library.
func (s *Scope) provides(soname, symbol string) bool {
	providers := s.providers(soname)
	return len(providers) > 0 && all(providers, func(e *exported) bool { return e.has(symbol) })
}

func all[T any](list []T, f func(T) bool) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return !f(x) })
}

// targetExports reports whether the patched library exports a symbol, in that version if there is
// one.
func (s *Scope) targetExports(name, version string) bool {
	return slices.ContainsFunc(s.Target.LookupAll(name), func(row symtab.Symbol) bool {
		return row.IsExported() && (version == "" || row.Version == version)
	})
}

// targetDefines reports whether the patched library exports anything of that version.
func (s *Scope) targetDefines(version string) bool {
	for row := range s.Target.Symbols() {
		if row.Version == version && row.IsExported() {
			return true
		}
	}
	return false
}

// targetImports reports whether the patched library cannot be loaded without the symbol: then it is
// there.
func (s *Scope) targetImports(name, version string) bool {
	return slices.ContainsFunc(s.Target.LookupAll(name), func(row symtab.Symbol) bool {
		return row.IsRequired() && row.Version == version
	})
}
