package rtld

import (
	"path"
	"slices"
)

// LinkMap is an entry of the loader's list (struct link_map) that belongs to a file.
type LinkMap struct {
	Library *Library
	Addr    uint64 // of the entry itself

	name   string // base name of the path it was found by; "" for the program
	needed []string
}

// Namespace is one of the loader's lists, in its order, without what is not a file. The first one
// is that of the program; dlmopen makes others. The loader itself is in all of them.
type Namespace []LinkMap

// is reports whether a DT_NEEDED entry means the library.
func (m *LinkMap) is(needed string) bool {
	return m.Library.SONAME == needed || m.name == path.Base(needed)
}

// closure returns the entries that roots need, and theirs, breadth first, roots included.
func (n Namespace) closure(roots ...*LinkMap) []*LinkMap {
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

// global returns the scope that every library of the namespace is bound in: what was loaded at its
// start, in the order of the loader's list: the program, LD_PRELOAD, and what they need, breadth
// first; of dlmopen, the library and what it needs. Everything loaded later stands after the last
// of these, so they are the list up to there.
func (n Namespace) global() []*LinkMap {
	if len(n) == 0 {
		return nil
	}
	last := func(list []*LinkMap) int {
		end := 0
		for i := range n {
			if slices.Contains(list, &n[i]) {
				end = i
			}
		}
		return end
	}
	end := last(n.closure(&n[0]))
	var roots []*LinkMap
	for i := range end + 1 { // with what was preloaded
		roots = append(roots, &n[i])
	}
	end = last(n.closure(roots...))
	scope := make([]*LinkMap, 0, end+1)
	for i := range end + 1 {
		scope = append(scope, &n[i])
	}
	return scope
}
