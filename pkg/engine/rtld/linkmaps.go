package rtld

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Process is a process as this package sees it. [process.Memory] implements it; so does
// [process.File], for a library of which nothing is known but its file.
type Process interface {
	// ReadAt reads len(b) bytes at an address. If it returns an error, n of them are there.
	ReadAt(ctx context.Context, b []byte, addr uint64) (n int, err error)
	// MappingAt returns the mapping that holds an address; ok is false if none does.
	MappingAt(ctx context.Context, addr uint64) (m Mapping, ok bool, err error)
	// Libraries lists the libraries that are mapped now.
	Libraries(ctx context.Context) ([]*Library, error)
	// Symbols opens the symbol table of one of the libraries.
	Symbols(ctx context.Context, l *Library) (*Symbols, error)
}

// Facts are what is known of libraries without a look at the process, because their pages are those
// of a file.
type Facts interface {
	// Needed returns a library's DT_NEEDED entries; ok is false if they are not known.
	Needed(ctx context.Context, l *Library) (list []string, ok bool, err error)
	// Bind returns what a reference is bound to in a library, or [ulp.ErrNoSymbol]; ok is false if
	// that is not known.
	Bind(ctx context.Context, l *Library, ref Reference) (sym Symbol, ok bool, err error)
}

// LinkMaps is what the dynamic loader of a process has loaded, and what it has bound: namespaces,
// scopes, implementations of indirect functions, thread-local storage. What is asked for is read
// once; nothing is read before.
//
// It is for one goroutine.
type LinkMaps struct {
	p     Process
	libs  []*Library
	main  *Library // nil: not recognised
	facts Facts    // nil: none

	spaces  []Namespace // nil: not read yet
	settled bool        // libs was looked at again after the lists, and was the same

	symbols map[*Library]*Symbols
	dyn     map[*Library]*dynamicEntries
	copied  map[*Library][]exported
}

// NewLinkMaps returns the link maps of a process that has these libraries. facts may be nil.
func NewLinkMaps(p Process, libs []*Library, facts Facts) *LinkMaps {
	m := &LinkMaps{p: p, libs: libs, facts: facts, symbols: map[*Library]*Symbols{},
		dyn: map[*Library]*dynamicEntries{}, copied: map[*Library][]exported{}}
	if i := slices.IndexFunc(libs, func(l *Library) bool { return l.Main }); i >= 0 {
		m.main = libs[i]
	}
	return m
}

// Namespaces returns the loader's namespaces, the program's first. The error wraps [ErrLoading]
// while a list is changed, [ErrStatic] for a program without a dynamic loader, or [ErrUnresolved]
// if the loader does not tell what it has loaded.
func (m *LinkMaps) Namespaces(ctx context.Context) ([]Namespace, error) {
	if m.spaces != nil {
		return m.spaces, nil
	}
	debug, err := m.debug(ctx)
	if err != nil {
		return nil, err
	}
	lists, err := readNamespaces(m.reader(ctx), debug)
	if err != nil {
		return nil, err
	}
	spaces := make([]Namespace, len(lists))
	for i, entries := range lists {
		if spaces[i], err = m.namespace(ctx, entries); err != nil {
			return nil, err
		}
	}
	m.spaces = spaces
	return spaces, nil
}

// debug returns where struct r_debug is: the loader tells it in the program's dynamic section,
// where a debugger looks first. A program without that entry has a loader that exports it.
func (m *LinkMaps) debug(ctx context.Context) (uint64, error) {
	if m.main != nil {
		d, err := m.dynamicOf(ctx, m.main)
		if err != nil && !errors.Is(err, ErrMalformed) {
			return 0, err
		}
		if err == nil && d.values[elf.DT_DEBUG] != 0 {
			return d.values[elf.DT_DEBUG], nil
		}
	}
	i := slices.IndexFunc(m.libs, func(l *Library) bool { return l.Loader })
	if i < 0 {
		return 0, ErrStatic
	}
	symbols, err := m.Symbols(ctx, m.libs[i])
	if err != nil {
		return 0, err
	}
	if symbols != nil {
		s, err := symbols.Lookup(ctx, debugSymbol, "")
		if err == nil {
			return s.Addr, nil
		}
		if !errors.Is(err, ulp.ErrNoSymbol) && !errors.Is(err, ErrMalformed) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("the dynamic loader %q does not tell what it loaded: %w", m.libs[i].Name,
		ErrUnresolved)
}

// namespace matches a list with the libraries that are mapped.
func (m *LinkMaps) namespace(ctx context.Context, entries []linkEntry) (Namespace, error) {
	var space Namespace
	for _, e := range entries {
		i := slices.IndexFunc(m.libs, func(l *Library) bool {
			return l.Contains(e.dynamic, 16) && l.Bias == e.bias
		})
		if i < 0 {
			if err := m.unknown(ctx, e); err != nil {
				return nil, err
			}
			continue
		}
		lm := LinkMap{Library: m.libs[i], Addr: e.addr}
		if e.path != "" {
			lm.name = path.Base(e.path)
		}
		var err error
		if lm.needed, err = m.needed(ctx, lm.Library); err != nil {
			return nil, err
		}
		space = append(space, lm)
	}
	return space, nil
}

// needed returns the DT_NEEDED entries of a library.
func (m *LinkMaps) needed(ctx context.Context, l *Library) ([]string, error) {
	if m.facts != nil {
		if list, ok, err := m.facts.Needed(ctx, l); ok || err != nil {
			return list, err
		}
	}
	s, err := m.Symbols(ctx, l)
	if err != nil || s == nil {
		return nil, err
	}
	return s.Needed(ctx)
}

// unknown looks at an entry that is of no library: the vDSO, a library without code, one that was
// copied into memory. But if the process has mapped something since its libraries were looked at,
// they do not go with the list.
func (m *LinkMaps) unknown(ctx context.Context, e linkEntry) error {
	if m.settled {
		return nil
	}
	at, ok, err := m.p.MappingAt(ctx, e.dynamic)
	if err != nil || ok && at.Path == "[vdso]" {
		return err
	}
	now, err := m.p.Libraries(ctx)
	if err != nil {
		return err
	}
	m.settled = slices.EqualFunc(m.libs, now, (*Library).SameAs)
	if !m.settled {
		return ErrLoading
	}
	return nil
}

// Find returns the entry of a library and the namespace it is in. The error wraps [ErrUnlisted] if
// there is none, or is that of Namespaces.
func (m *LinkMaps) Find(ctx context.Context, l *Library) (Namespace, *LinkMap, error) {
	spaces, err := m.Namespaces(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, space := range spaces {
		for i := range space {
			if space[i].Library == l {
				return space, &space[i], nil
			}
		}
	}
	return nil, nil, fmt.Errorf("%q: %w", l.Name, ErrUnlisted)
}

// Unlisted returns the libraries that the loader does not list. ok is false if its lists have not
// been read: nothing asked for them, or they could not be read.
func (m *LinkMaps) Unlisted() (list []*Library, ok bool) {
	listed := m.all()
	return slices.DeleteFunc(slices.Clone(m.libs), func(l *Library) bool {
		return slices.ContainsFunc(listed, func(lm LinkMap) bool { return lm.Library == l })
	}), m.spaces != nil
}

// all returns the entries of all namespaces that have been read.
func (m *LinkMaps) all() []LinkMap { return slices.Concat(m.spaces...) }

// Symbols opens a library's symbol table, once; nil if the library defines nothing that can be
// read.
func (m *LinkMaps) Symbols(ctx context.Context, l *Library) (*Symbols, error) {
	if s, ok := m.symbols[l]; ok {
		return s, nil
	}
	s, err := m.p.Symbols(ctx, l)
	if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnreadable) {
		return nil, err
	}
	m.symbols[l] = s
	return s, nil
}

// word reads 8 bytes.
func (m *LinkMaps) word(ctx context.Context, addr uint64) (uint64, error) {
	var b [8]byte
	_, err := m.p.ReadAt(ctx, b[:], addr)
	return le.Uint64(b[:]), err
}

// reader returns a Reader of the process.
func (m *LinkMaps) reader(ctx context.Context) Reader { return contextReader{ctx, m.p} }

type contextReader struct {
	ctx context.Context
	p   Process
}

func (r contextReader) ReadAt(b []byte, addr uint64) (int, error) {
	return r.p.ReadAt(r.ctx, b, addr)
}
