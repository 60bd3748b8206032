package symtab

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Resolver is the code of an indirect function, which chooses the implementation.
type Resolver struct {
	at      uint64
	Returns []uint64 // functions that it can return, ascending
	why     string   // why that is not known; "" if it is
}

// Bounds of what a catalogue may say.
const (
	maxResolvers = 1 << 14
	maxReturns   = 1 << 10
)

// UnknownResolver returns why it is not known what the resolver at an address can return, "" if it
// is.
func (l *Library) UnknownResolver(addr uint64) string {
	switch r := l.Resolver(addr); {
	case r != nil:
		return r.why
	case l.Arch != X86_64 && l.Arch != "":
		return fmt.Sprintf("its code is not read on %s", l.Arch)
	}
	return "the catalogue does not tell it: run lpbuild download again"
}

// Resolver returns what is known of the resolver at an address, nil if nothing is.
func (l *Library) Resolver(addr uint64) *Resolver {
	i, ok := slices.BinarySearchFunc(l.resolvers, addr, func(r Resolver, addr uint64) int {
		switch {
		case r.at < addr:
			return -1
		case r.at > addr:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &l.resolvers[i]
}

// Choosers returns the addresses of all code that chooses implementations.
func (l *Library) Choosers() map[uint64]bool {
	at := l.symbols.indirect()
	for _, r := range l.resolvers {
		at[r.at] = true
	}
	return at
}

// indirectNamed returns the addresses of the indirect functions of a name, which may differ by
// underscores in front: implementations of memcpy and of __memcpy are both called __memcpy_*.
func (l *Library) indirectNamed(name string) []uint64 {
	var at []uint64
	for t, r := range l.symbols.each() {
		if s := t.symbol(r); IsIFUNC(s) && !s.Undefined && strings.TrimLeft(s.Name, "_") == name &&
			!slices.Contains(at, s.Value) {
			at = append(at, s.Value)
		}
	}
	return at
}

// Implementing returns the indirect functions whose implementations begin like a name or a pattern:
// those of memcpy for __memcpy_avx_*. name is what they are called.
func (l *Library) Implementing(prefix string) (name string, at []uint64) {
	for i := len(prefix) - 1; i > 0; i-- {
		if prefix[i] != '_' {
			continue
		}
		name = strings.TrimLeft(prefix[:i], "_")
		if at = l.indirectNamed(name); name != "" && len(at) > 0 {
			return name, at
		}
	}
	return "", nil
}

// Implements returns the name of an indirect function that can choose a function, "" if there is
// none. Where it is not known what an indirect function can choose, names tell.
func (l *Library) Implements(s Symbol) string {
	found := ""
	for i := range l.resolvers {
		if r := &l.resolvers[i]; slices.Contains(r.Returns, s.Value) {
			for t, row := range l.symbols.each() {
				of := t.symbol(row)
				if !IsIFUNC(of) || of.Undefined || of.Value != r.at {
					continue
				}
				if strings.HasPrefix(strings.TrimLeft(s.Name, "_"), strings.TrimLeft(of.Name, "_")+
					"_") {
					// of several names, such as strchr and index, the one that it is called after
					return of.Name
				}
				found = cmp.Or(found, of.Name)
			}
		}
	}
	if found != "" {
		return found
	}
	name, at := l.Implementing(s.Name)
	if slices.ContainsFunc(at, func(addr uint64) bool { return l.UnknownResolver(addr) != "" }) {
		return name
	}
	return ""
}

// appendResolvers appends the resolvers as a value of the catalogue.
func (l *Library) appendResolvers(b []byte, version int64) []byte {
	b = fmt.Appendf(b, ",\n\"resolvers\":{\"proof\":%d,\"list\":[", version)
	for i, r := range l.resolvers {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "\n{\"at\":%d", r.at)
		if r.why != "" {
			b = appendString(b, ",\"why\":", r.why)
		} else {
			b = appendList(append(b, ",\"returns\":"...), r.Returns,
				func(b []byte, addr uint64) []byte { return fmt.Appendf(b, "%d", addr) })
		}
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// resolvers reads the value of "resolvers". Those by other rules are read, and forgotten.
func (p *catalogueParser) resolvers(want uint64) ([]Resolver, error) {
	list := []Resolver{}
	known, err := p.byRules(want, "list", func() error {
		r, err := p.resolver()
		switch n := len(list); {
		case err != nil:
		case n == maxResolvers:
			err = p.fail("catalogue: resolvers", errors.New("has too many elements"))
		case n > 0 && list[n-1].at >= r.at:
			err = p.fail("catalogue: resolvers", errors.New("is not in ascending order"))
		}
		list = append(list, r)
		return err
	})
	if !known {
		list = nil
	}
	return list, err
}

// resolver reads an element of "resolvers".
func (p *catalogueParser) resolver() (r Resolver, err error) {
	err = p.object(func(key []byte) (err error) {
		switch string(key) {
		case "at":
			r.at, err = p.address()
		case "why":
			if r.why, err = p.text(); err == nil && (r.why == "" || len(r.why) > maxWhy) {
				err = p.fail("catalogue: why", errors.New("is not 1 to 200 bytes"))
			}
		case "returns":
			return p.array(func() error {
				addr, err := p.address()
				if r.Returns = append(r.Returns, addr); err == nil && len(r.Returns) > maxReturns {
					err = p.fail("catalogue: returns", errors.New("has too many elements"))
				}
				return err
			})
		default:
			err = p.skip(4)
		}
		return err
	})
	if err == nil && (r.why == "") == (len(r.Returns) == 0) {
		err = p.fail(`catalogue: either "why" or "returns" of a resolver`, errMissing)
	}
	return r, err
}
