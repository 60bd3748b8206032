package rtld

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"iter"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Symbol is a function or variable that a library in a process defines for others.
type Symbol struct {
	Name    string
	Version string // "" if it has none
	Hidden  bool   // an old version: found only by a reference with that version
	Type    elf.SymType
	Bind    elf.SymBind
	// Addr is the address in the process: of the resolver for an indirect function, and the offset
	// in the library's thread-local block for a thread-local variable. All Size bytes there belong
	// to the library.
	Addr uint64
	Size uint64
	// Absolute and Undefined are of symbols that only Bind finds: Addr is a value that the
	// library's place says nothing of; the program's own entry of a function that it does not
	// define.
	Absolute, Undefined bool
}

// Symbols is the dynamic symbol table of a library, in the memory of its process. It can be read as
// long as its Source, by several goroutines at once.
type Symbols struct {
	src      Source
	l        *Library
	d        *dynamic
	table    hashTable
	versions map[uint16]string
}

const (
	symbolSize  = 24
	versionBits = 0x7fff
	hiddenBit   = 0x8000
)

// OpenSymbols opens the symbol table of a library of src. The error wraps [ErrMalformed] if there
// is no table or nothing bounds it, [ErrUnreadable], [ErrLimit], or [symtab.ErrUnsupported] for a
// 32-bit library.
func OpenSymbols(ctx context.Context, src Source, l *Library) (*Symbols, error) {
	s, err := walk(ctx, src, "symbol table", func(r Reader) (*Symbols, error) {
		return openSymbols(r, l)
	})
	if err != nil {
		return nil, err
	}
	s.src = src
	return s, nil
}

// From returns the same symbol table, to be read from another Source.
func (s *Symbols) From(src Source) *Symbols {
	from := *s
	from.src = src
	return &from
}

// walk runs f with a reader that is good for one walk through the tables.
func walk[T any](ctx context.Context, src Source, what string,
	f func(r Reader) (T, error)) (T, error) {
	v, err := src.Walk(ctx, what, func(r Reader) (any, error) {
		p := NewPages(r)
		defer p.Done()
		return f(p)
	})
	found, _ := v.(T) // nil if f did not come to its end
	return found, err
}

// look is walk for the tables of s.
func look[T any](ctx context.Context, s *Symbols, what string,
	f func(r Reader) (T, error)) (T, error) {
	return walk(ctx, s.src, what, f)
}

func openSymbols(r Reader, l *Library) (*Symbols, error) {
	switch d := l.dynamic; {
	case l.Class == elf.ELFCLASS32:
		return nil, fmt.Errorf("%w: 32-bit library", symtab.ErrUnsupported)
	case d == nil:
		return nil, malformed("no dynamic section")
	case d.symtab == 0 || d.strtab == 0:
		return nil, malformed("no symbol table in the image")
	case d.strsz > maxAddress || !l.Contains(d.strtab, d.strsz):
		return nil, malformed("string table outside of the image")
	}
	s := &Symbols{l: l, d: l.dynamic}
	var err error
	if s.table, err = openHash(r, l); err != nil {
		return nil, err
	}
	s.versions, err = l.readVersions(r)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Needed returns the library's DT_NEEDED entries, in order.
func (s *Symbols) Needed(ctx context.Context) ([]string, error) {
	return look(ctx, s, "dynamic section", func(r Reader) ([]string, error) {
		return s.l.needed(r, s.d)
	})
}

// Lookup finds a symbol through the library's hash table, as the dynamic loader does. Without a
// version it is the default one. The error wraps [ulp.ErrNoSymbol] if there is none,
// [ErrMalformed], also if the symbol is outside of the library, or [ErrUnreadable].
func (s *Symbols) Lookup(ctx context.Context, name, version string) (Symbol, error) {
	return look(ctx, s, "symbol", func(r Reader) (Symbol, error) {
		return s.lookup(r, name, version)
	})
}

// LookupAll is Lookup for several names at once, without a version; those that the library does not
// define are left out.
func (s *Symbols) LookupAll(ctx context.Context, names ...string) (map[string]Symbol, error) {
	return look(ctx, s, "symbol", func(r Reader) (map[string]Symbol, error) {
		found := make(map[string]Symbol, len(names))
		for _, name := range names {
			switch sym, err := s.lookup(r, name, ""); {
			case err == nil:
				found[name] = sym
			case !errors.Is(err, ulp.ErrNoSymbol):
				return nil, err
			}
		}
		return found, nil
	})
}

func (s *Symbols) lookup(r Reader, name, version string) (Symbol, error) {
	var found *Symbol
	err := s.table.candidates(r, name, func(i uint64) (bool, error) {
		sym, ok, err := s.row(r, i, name)
		if err != nil || !ok || version == "" && sym.Hidden || version != "" &&
			sym.Version != version {
			return false, err
		}
		found = &sym
		return true, nil
	})
	if err != nil {
		return Symbol{}, err
	}
	if found == nil {
		return Symbol{}, ulp.ErrNoSymbol
	}
	return *found, nil
}

// row reads a row of the table. ok is false if it defines nothing, or is not the one of that name.
func (s *Symbols) row(r Reader, i uint64, want string) (sym Symbol, ok bool, err error) {
	b, ok, err := s.named(r, i, want)
	if err != nil || !ok {
		return Symbol{}, false, err
	}
	return s.symbol(r, i, b[:], want)
}

// named reads a row of the table as it stands there. ok is false if it has another name.
func (s *Symbols) named(r Reader, i uint64, want string) (b [symbolSize]byte, ok bool, err error) {
	addr := s.d.symtab + i*symbolSize
	if i >= maxSymbols || !s.l.Contains(addr, symbolSize) {
		return b, false, malformed("symbol outside of the table")
	}
	if err := readFull(r, b[:], addr); err != nil {
		return b, false, err
	}
	name, err := s.l.text(r, s.d, uint64(le.Uint32(b[:])), max(uint64(len(want)), 1))
	if err != nil && !Local(err) {
		return b, false, err
	}
	return b, err == nil && name == want, nil // or else another, perhaps longer, name
}

// visible reports whether others can have the symbol: the dynamic loader passes hidden ones over.
func visible(other byte) bool {
	v := elf.ST_VISIBILITY(other)
	return v != elf.STV_HIDDEN && v != elf.STV_INTERNAL
}

// symbol makes a Symbol of a row and its name.
func (s *Symbols) symbol(r Reader, i uint64, b []byte, name string) (Symbol, bool, error) {
	sym := Symbol{Name: name, Type: elf.ST_TYPE(b[4]), Bind: elf.ST_BIND(b[4]),
		Addr: le.Uint64(b[8:]), Size: le.Uint64(b[16:])}
	section := elf.SectionIndex(le.Uint16(b[6:]))
	if section == elf.SHN_UNDEF || section == elf.SHN_ABS || sym.Bind == elf.STB_LOCAL ||
		!visible(b[5]) {
		return Symbol{}, false, nil
	}
	if sym.Type != elf.STT_TLS {
		sym.Addr += s.l.Bias
		if !s.l.Contains(sym.Addr, max(sym.Size, 1)) {
			return Symbol{}, false, malformed("symbol outside of the library")
		}
	}
	if s.d.versym == 0 {
		return sym, true, nil
	}
	index, err := s.version(r, i)
	if err != nil {
		return Symbol{}, false, err
	}
	sym.Hidden, sym.Version = index&hiddenBit != 0, s.versions[index&versionBits]
	return sym, true, nil
}

// version reads the version of a row as DT_VERSYM has it.
func (s *Symbols) version(r Reader, i uint64) (uint16, error) {
	var v [2]byte
	addr := s.d.versym + 2*i
	if !s.l.Contains(addr, 2) {
		return 0, malformed("symbol version outside of the image")
	}
	err := readFull(r, v[:], addr)
	return le.Uint16(v[:]), err
}

// batch is how many rows All reads at once.
const batch = 128

// All iterates over the symbols that the library defines, in the table's order. Rows that are
// malformed are left out. After an error, which is that of Lookup, it ends.
func (s *Symbols) All(ctx context.Context) iter.Seq2[Symbol, error] {
	return func(yield func(Symbol, error) bool) {
		count, err := look(ctx, s, "symbol table", s.table.count)
		for i := uint64(1); i < count && err == nil; i += batch {
			var list []Symbol
			list, err = look(ctx, s, "symbol table", func(r Reader) ([]Symbol, error) {
				return s.rows(r, i, min(i+batch, count))
			})
			for _, sym := range list {
				if !yield(sym, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(Symbol{}, err)
		}
	}
}

// Addresses returns where the symbols are that the library defines, in the table's order, also
// those that others cannot have: for all of them together it takes no longer than for a few in All,
// since names are not read. Values that are no addresses are left out as far as that can be told.
func (s *Symbols) Addresses(ctx context.Context) ([]uint64, error) {
	return look(ctx, s, "symbol table", func(r Reader) ([]uint64, error) {
		count, err := s.table.count(r)
		if err != nil {
			return nil, err
		}
		if count > maxSymbols || !s.l.Contains(s.d.symtab, count*symbolSize) {
			return nil, malformed("symbol table outside of the image")
		}
		var list []uint64
		b := make([]byte, min(count, manyRows)*symbolSize)
		for i := uint64(0); i < count; i += manyRows {
			rows := b[:min(manyRows, count-i)*symbolSize]
			if err := readFull(r, rows, s.d.symtab+i*symbolSize); err != nil {
				return nil, err
			}
			for ; len(rows) > 0; rows = rows[symbolSize:] {
				section := elf.SectionIndex(le.Uint16(rows[6:]))
				if section == elf.SHN_UNDEF || section == elf.SHN_ABS ||
					elf.ST_TYPE(rows[4]) == elf.STT_TLS {
					continue
				}
				list = append(list, s.l.Bias+le.Uint64(rows[8:]))
			}
		}
		return list, nil
	})
}

// manyRows is how many rows Addresses reads at once.
const manyRows = 2048

func (s *Symbols) rows(r Reader, from, to uint64) ([]Symbol, error) {
	addr := s.d.symtab + from*symbolSize
	b := make([]byte, (to-from)*symbolSize)
	if !s.l.Contains(addr, uint64(len(b))) {
		return nil, malformed("symbol table outside of the image")
	}
	if err := readFull(r, b, addr); err != nil {
		return nil, err
	}
	var list []Symbol
	for i := from; i < to; i, b = i+1, b[symbolSize:] {
		name, err := s.l.text(r, s.d, uint64(le.Uint32(b)), maxName)
		if err == nil {
			var sym Symbol
			var ok bool
			if sym, ok, err = s.symbol(r, i, b[:symbolSize], name); ok {
				list = append(list, sym)
			}
		}
		if err != nil && !Local(err) {
			return nil, err
		}
	}
	return list, nil
}
