package inject

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"path"
	"slices"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// module is an entry of the dynamic loader's list (struct link_map) that belongs to a file.
type module struct {
	lib    *process.Library
	addr   uint64 // of the entry itself
	name   string // base name of the path it was found by; "" for the program
	needed []string
}

// maxModules bounds the list: a hostile one has no end.
const maxModules = 4096

// memory is what a reader of the process's structures needs. view has it; tests forge it.
type memory interface {
	ReadAt(ctx context.Context, b []byte, addr uint64) (int, error)
}

// linkEntry is an entry as it stands in memory.
type linkEntry struct {
	addr, bias, dynamic uint64
	name                string
}

// readLinkMap walks the list that r_debug (DT_DEBUG) begins. An entry that was seen before ends it with an error, as does
// one too many.
func readLinkMap(ctx context.Context, m memory, debug uint64) ([]linkEntry, error) {
	var b [40]byte
	if _, err := m.ReadAt(ctx, b[:16], debug); err != nil {
		return nil, err
	}
	seen := map[uint64]bool{}
	var list []linkEntry
	for at := le.Uint64(b[8:]); at != 0; at = le.Uint64(b[24:]) {
		if seen[at] || len(list) == maxModules {
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

// readChain reads the loader's list and matches it with what is mapped.
func (v *view) readChain(ctx context.Context) error {
	if v.chain != nil {
		return nil
	}
	if v.main == nil {
		return fmt.Errorf("the program's headers: %w", process.ErrMalformed)
	}
	d, err := v.dynamicOf(ctx, v.main)
	if err != nil {
		return err
	}
	debug := d.values[elf.DT_DEBUG]
	if debug == 0 {
		return fmt.Errorf("a statically linked program has no list of libraries: %w", ErrUnresolved)
	}
	entries, err := readLinkMap(ctx, v.m, debug)
	if err != nil {
		return err
	}
	for _, e := range entries {
		i := slices.IndexFunc(v.libs, func(l *process.Library) bool { return l.Contains(e.dynamic, 16) && l.Bias == e.bias })
		if i < 0 {
			continue // the vDSO, or what was copied into memory
		}
		mod := module{lib: v.libs[i], addr: e.addr}
		if e.name != "" {
			mod.name = path.Base(e.name)
		}
		if s, err := v.symbolsOf(ctx, mod.lib); err != nil {
			return err
		} else if s != nil {
			if mod.needed, err = s.Needed(ctx); err != nil {
				return err
			}
		}
		v.chain = append(v.chain, mod)
	}
	return nil
}

// module returns the entry of a library, nil if it is not in the list: then it was loaded by dlmopen.
func (v *view) module(l *process.Library) *module {
	for i := range v.chain {
		if v.chain[i].lib == l {
			return &v.chain[i]
		}
	}
	return nil
}

// is says whether a DT_NEEDED entry means the module.
func (m *module) is(needed string) bool { return m.lib.SONAME == needed || m.name == path.Base(needed) }

// closure returns the modules that roots need, and theirs, breadth first, roots included.
func (v *view) closure(roots ...*module) []*module {
	list := slices.Clone(roots)
	for i := 0; i < len(list); i++ {
		for _, n := range list[i].needed {
			for j := range v.chain {
				if m := &v.chain[j]; m.is(n) && !slices.Contains(list, m) {
					list = append(list, m)
					break
				}
			}
		}
	}
	return list
}

// global returns the scope that every library of the process is bound in: what was loaded at its start, in the order of
// the loader's list: the program, LD_PRELOAD, and what they need, breadth first. Everything loaded later stands behind the
// last of these, so they are the list up to there.
func (v *view) global() []*module {
	if len(v.chain) == 0 {
		return nil
	}
	last := func(list []*module) int {
		n := 0
		for i := range v.chain {
			if slices.Contains(list, &v.chain[i]) {
				n = i
			}
		}
		return n
	}
	end := last(v.closure(&v.chain[0]))
	var roots []*module
	for i := range end + 1 { // with what was preloaded
		roots = append(roots, &v.chain[i])
	}
	end = last(v.closure(roots...))
	scope := make([]*module, 0, end+1)
	for i := range end + 1 {
		scope = append(scope, &v.chain[i])
	}
	return scope
}
