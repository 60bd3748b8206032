package symtab

import (
	"debug/elf"
	"slices"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// Undefined is a symbol that a library needs from elsewhere.
type Undefined struct {
	Name    string
	Version string // "" if unversioned
	File    string // SONAME of the library that the version is needed from; "" if unversioned
	Weak    bool   // may stay unresolved
}

// Undefined returns what the dynamic linker has to find for a library that was read from ELF, in
// the order of .dynsym.
func (l *Library) Undefined() []Undefined {
	var list []Undefined
	dynsym := &l.symbols.tables[0]
	dynsym.each(func(_ int, r *row) bool {
		if r.flags&flagUndefined == 0 {
			return true
		}
		u := Undefined{Name: dynsym.name(r), Weak: elf.ST_BIND(r.info) == elf.STB_WEAK}
		if v := dynsym.versionOf(r); v != nil {
			u.Version = dynsym.cut(v.NameOff)
			if v.FileOff != elfx.NoString {
				u.File = dynsym.cut(v.FileOff)
			}
		}
		list = append(list, u)
		return true
	})
	slices.Reverse(list) // the last row is the first of each
	return list
}
