package native

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// module is an entry of the dynamic loader's list (struct link_map) that belongs to a file.
type module struct {
	lib    *rtld.Library
	addr   uint64 // of the entry itself
	name   string // base name of the path it was found by; "" for the program
	needed []string
}

// namespace is one of the dynamic loader's lists, in its order, without what is no file. The first one is that of the
// program; dlmopen makes others. The loader itself is in all of them.
type namespace []module

// What a list may have; a hostile one has no end.
const (
	maxModules    = 4096
	maxNamespaces = 64 // glibc has room for 16
)

// memory is what a reader of the process's structures needs. view has it; tests forge it.
type memory interface {
	ReadAt(ctx context.Context, b []byte, addr uint64) (int, error)
}

// linkEntry is an entry as it stands in memory.
type linkEntry struct {
	addr, bias, dynamic uint64
	name                string
}

// Fields of struct r_debug (link.h); the version is the first one, and 0 before anything is loaded. debugState is not 0 while
// a list is being changed, and from the start of the program until all is bound. debugNext is there if the version is 2 or
// more, which says that there are other namespaces than the program's.
const (
	debugMap   = 8
	debugState = 24
	debugNext  = 40
	debugSize  = 48
)

// errLoading: what is in the lists, and in the slots of libraries, is not all there yet.
var errLoading = fmt.Errorf("the dynamic loader is at work: %w", ErrAgain)

// readDebug walks the lists that r_debug begins, one for each namespace, the program's first. What was seen before is an
// error, as is one too many.
func readDebug(ctx context.Context, m memory, debug uint64) ([][]linkEntry, error) {
	var lists [][]linkEntry
	seen := map[uint64]bool{}
	for debug != 0 {
		if seen[debug] || len(lists) == maxNamespaces {
			return nil, fmt.Errorf("namespaces of libraries: %w", process.ErrMalformed)
		}
		seen[debug] = true
		var b [debugSize]byte
		if _, err := m.ReadAt(ctx, b[:debugNext], debug); err != nil {
			return nil, err
		}
		version := le.Uint32(b[:])
		if version == 0 || le.Uint32(b[debugState:]) != 0 {
			return nil, errLoading
		}
		list, err := readLinkMap(ctx, m, le.Uint64(b[debugMap:]), seen)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
		if version < 2 {
			break
		}
		if _, err := m.ReadAt(ctx, b[debugNext:], debug+debugNext); err != nil {
			return nil, err
		}
		debug = le.Uint64(b[debugNext:])
	}
	return lists, nil
}

// readLinkMap walks one list from its first entry on.
func readLinkMap(ctx context.Context, m memory, at uint64, seen map[uint64]bool) ([]linkEntry, error) {
	var b [40]byte
	var list []linkEntry
	for ; at != 0; at = le.Uint64(b[24:]) {
		if seen[at] || len(seen) > maxModules {
			return nil, fmt.Errorf("list of libraries: %w", process.ErrMalformed)
		}
		seen[at] = true
		if _, err := m.ReadAt(ctx, b[:], at); err != nil { // l_addr, l_name, l_ld, l_next, l_prev
			return nil, err
		}
		e := linkEntry{addr: at, bias: le.Uint64(b[:]), dynamic: le.Uint64(b[16:])}
		var name [1024]byte
		n, _ := m.ReadAt(ctx, name[:], le.Uint64(b[8:])) // the name only helps to match DT_NEEDED
		if end := bytes.IndexByte(name[:n], 0); end >= 0 {
			e.name = string(name[:end])
		}
		list = append(list, e)
	}
	return list, nil
}

// readSpaces reads the loader's lists and matches them with what is mapped.
func (v *view) readSpaces(ctx context.Context) error {
	if v.spaces != nil {
		return nil
	}
	debug, err := v.debug(ctx)
	if err != nil {
		return err
	}
	lists, err := readDebug(ctx, v.m, debug)
	if err != nil {
		return err
	}
	spaces := make([]namespace, len(lists))
	for i, entries := range lists {
		if spaces[i], err = v.space(ctx, entries); err != nil {
			return err
		}
	}
	v.spaces = spaces
	return nil
}

var errStatic = fmt.Errorf("a statically linked program has no list of libraries: %w", ErrUnresolved)

// debugSymbol is r_debug in the dynamic loader.
const debugSymbol = "_r_debug"

// debug returns where r_debug is: the loader tells it in the program's dynamic section, where a debugger looks first. A
// program without that entry has a loader that exports it.
func (v *view) debug(ctx context.Context) (uint64, error) {
	if v.main != nil {
		d, err := v.dynamicOf(ctx, v.main)
		if err != nil && !errors.Is(err, process.ErrMalformed) {
			return 0, err
		}
		if err == nil && d.values[elf.DT_DEBUG] != 0 {
			return d.values[elf.DT_DEBUG], nil
		}
	}
	i := slices.IndexFunc(v.libs, func(l *rtld.Library) bool { return l.Loader })
	if i < 0 {
		return 0, errStatic
	}
	symbols, err := v.symbolsOf(ctx, v.libs[i])
	if err != nil {
		return 0, err
	}
	if symbols != nil {
		s, err := symbols.Lookup(ctx, debugSymbol, "")
		if err == nil {
			return s.Addr, nil
		}
		if !errors.Is(err, ulp.ErrNoSymbol) && !errors.Is(err, process.ErrMalformed) {
			return 0, err
		}
	}
	return 0, fmt.Errorf("the dynamic loader %q does not tell what it loaded: %w", v.libs[i].Name, ErrUnresolved)
}

// space makes a namespace of a list.
func (v *view) space(ctx context.Context, entries []linkEntry) (namespace, error) {
	var space namespace
	for _, e := range entries {
		i := slices.IndexFunc(v.libs, func(l *rtld.Library) bool { return l.Contains(e.dynamic, 16) && l.Bias == e.bias })
		if i < 0 {
			if err := v.unknown(ctx, e); err != nil {
				return nil, err
			}
			continue
		}
		mod := module{lib: v.libs[i], addr: e.addr}
		if e.name != "" {
			mod.name = path.Base(e.name)
		}
		var err error
		if mod.needed, err = v.needed(ctx, mod.lib); err != nil {
			return nil, err
		}
		space = append(space, mod)
	}
	return space, nil
}

// needed returns the DT_NEEDED entries of a library.
func (v *view) needed(ctx context.Context, l *rtld.Library) ([]string, error) {
	k, err := v.known(ctx, l)
	if err != nil {
		return nil, err
	}
	if k != nil {
		if list, ok := k.needs(ctx); ok {
			return list, nil
		}
	}
	s, err := v.symbolsOf(ctx, l)
	if err != nil || s == nil {
		return nil, err
	}
	return s.Needed(ctx)
}

// unknown looks at an entry that is of no library: the vDSO, a library without code, one that was copied into memory. But if
// the process has mapped something since its libraries were looked at, they do not go with the list.
func (v *view) unknown(ctx context.Context, e linkEntry) error {
	if v.settled || slices.ContainsFunc(v.maps, func(m rtld.Mapping) bool {
		return m.Path == "[vdso]" && e.dynamic >= m.Start && e.dynamic < m.End
	}) {
		return nil
	}
	now, err := v.m.Libraries(ctx)
	if err != nil {
		return err
	}
	v.settled = slices.EqualFunc(v.libs, now, same)
	if !v.settled {
		return errLoading
	}
	return nil
}

// module returns the entry of a library and the namespace it is in; ErrUnlisted if there is none.
func (v *view) module(ctx context.Context, l *rtld.Library) (namespace, *module, error) {
	if err := v.readSpaces(ctx); err != nil {
		return nil, nil, err
	}
	for _, space := range v.spaces {
		for i := range space {
			if space[i].lib == l {
				return space, &space[i], nil
			}
		}
	}
	return nil, nil, fmt.Errorf("%q: %w", l.Name, ErrUnlisted)
}

// modules returns the entries of all namespaces.
func (v *view) modules() []module { return slices.Concat(v.spaces...) }

// is says whether a DT_NEEDED entry means the module.
func (m *module) is(needed string) bool { return m.lib.SONAME == needed || m.name == path.Base(needed) }

// closure returns the modules that roots need, and theirs, breadth first, roots included.
func (n namespace) closure(roots ...*module) []*module {
	list := slices.Clone(roots)
	for i := 0; i < len(list); i++ {
		for _, needed := range list[i].needed {
			for j := range n {
				if m := &n[j]; m.is(needed) && !slices.Contains(list, m) {
					list = append(list, m)
					break
				}
			}
		}
	}
	return list
}

// global returns the scope that every library of the namespace is bound in: what was loaded at its start, in the order of
// the loader's list: the program, LD_PRELOAD, and what they need, breadth first; of dlmopen, the library and what it needs.
// Everything loaded later stands behind the last of these, so they are the list up to there.
func (n namespace) global() []*module {
	if len(n) == 0 {
		return nil
	}
	last := func(list []*module) int {
		end := 0
		for i := range n {
			if slices.Contains(list, &n[i]) {
				end = i
			}
		}
		return end
	}
	end := last(n.closure(&n[0]))
	var roots []*module
	for i := range end + 1 { // with what was preloaded
		roots = append(roots, &n[i])
	}
	end = last(n.closure(roots...))
	scope := make([]*module, 0, end+1)
	for i := range end + 1 {
		scope = append(scope, &n[i])
	}
	return scope
}
