package ulp

import (
	"cmp"
	"debug/elf"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// functions replaces the patterns by the functions of lib that they match.
func (e *expander) functions(lib *symtab.Library) []Replacement {
	patterns := 0
	for _, r := range e.d.Functions {
		if !isPattern(r.Old.Text) {
			continue
		}
		patterns++
		if _, err := path.Match(r.Old.Text, ""); err != nil {
			e.errs = append(e.errs, e.d.finding(r.Old, ErrPattern,
				"malformed pattern: a [ without its ]"))
		}
		if patterns == maxPatterns+1 {
			e.errs = append(e.errs, e.d.finding(r.Old, ErrPattern, "more than %d patterns",
				maxPatterns))
		}
	}
	if lib == nil || patterns == 0 || len(e.errs) > 0 {
		return slices.Clone(e.d.Functions)
	}
	return e.expandPatterns(newCandidates(lib, e.d.Functions))
}

// isPattern tells whether a function's name is a pattern. No compiler makes symbols with these
// characters.
func isPattern(name string) bool { return strings.ContainsAny(name, "*?[") }

func (e *expander) expandPatterns(c *candidates) []Replacement {
	var out []Replacement
	for _, r := range e.d.Functions {
		if !isPattern(r.Old.Text) {
			out = append(out, r)
			continue
		}
		chosen, ok := e.chosen(c, r)
		if !ok {
			continue
		}
		names, leftOut := c.match(r.Old.Text, r.New.Text, chosen)
		if len(names) == 0 {
			found := e.d.finding(r.Old, ErrNoMatch, "no function of %s matches %s", c.lib.Name,
				r.Old.Text)
			switch {
			case leftOut == 1:
				found.Hint = "one name matches, but no indirect function can choose it, or it is " +
					"a _chk variant, an indirect function itself, a part or copy that the " +
					"compiler made, or named elsewhere in the description"
			case leftOut > 1:
				found.Hint = fmt.Sprintf("%d names match, but no indirect function can choose "+
					"them, or they are _chk variants, indirect functions themselves, parts or "+
					"copies that the compiler made, or named elsewhere in the description", leftOut)
			}
			e.errs = append(e.errs, found)
		}
		for _, n := range names {
			out = append(out, Replacement{Name{n, r.Old.Pos}, r.New})
		}
		if len(out) > maxExpansion {
			e.errs = append(e.errs, e.d.finding(r.Old, ErrPattern,
				"the patterns match more than %d functions", maxExpansion))
			return nil
		}
	}
	return out
}

// chosen returns the functions that a pattern may stand for: those that the indirect function can
// choose whose implementations are named like that. nil means any, for a pattern of versions. ok is
// false if that is an error, since what a pattern matches by name alone may be a function with
// other parameters: __strcpy_small for __strcpy_*.
func (e *expander) chosen(c *candidates, r Replacement) (chosen map[uint64]bool, ok bool) {
	base, _, _ := strings.Cut(r.Old.Text, "@")
	wild := strings.IndexAny(base, "*?[")
	if wild < 0 {
		return nil, e.takesVersions(c, r, base)
	}
	refuse := func(format string, args ...any) {
		found := e.d.finding(r.Old, ErrPattern, format, args...)
		found.Hint = "name the functions, each in a line"
		if names, _ := c.match(r.Old.Text, "", nil); len(names) > 0 {
			found.Hint += "; by their names these match: " + symtab.SomeOf(names)
		}
		e.errs = append(e.errs, found)
	}
	name, at := c.lib.Implementing(base[:wild])
	if len(at) == 0 {
		refuse("%s does not begin with the name of an indirect function (IFUNC) of %s", r.Old.Text,
			c.lib.Name)
		return nil, false
	}
	chosen = map[uint64]bool{}
	for _, addr := range at {
		if why := c.lib.UnknownResolver(addr); why != "" {
			refuse("it is not known which functions of %s the indirect function %s can choose, "+
				"so that %s may match others: %s",
				c.lib.Name, name, r.Old.Text, why)
			return nil, false
		}
		for _, f := range c.lib.Resolver(addr).Returns {
			chosen[f] = true
		}
	}
	return chosen, true
}

// takesVersions refuses a pattern of versions if one that it matches is an indirect function,
// unless no other is: the patch would leave that version, which may be the one that most programs
// use, as it is.
func (e *expander) takesVersions(c *candidates, r Replacement, base string) bool {
	names, _ := c.match(r.Old.Text, "", nil)
	if len(names) == 0 {
		return true // an error, which says so
	}
	for _, s := range c.lib.LookupAll(base) {
		if s.Undefined || !symtab.IsIFUNC(s) || !slices.ContainsFunc(versioned(s),
			func(name string) bool {
				matches, _ := path.Match(r.Old.Text, name)
				return matches
			}) {
			continue
		}
		found := e.d.finding(r.Old, ErrPattern, "%s, which %s would leave out, is an indirect "+
			"function (IFUNC) of %s",
			s.Qualified(), r.Old.Text, c.lib.Name)
		found.Hint = fmt.Sprintf("name the implementations that it chooses, and the other "+
			"versions, each in a line: %s", symtab.SomeOf(names))
		e.errs = append(e.errs, found)
		return false
	}
	return true
}

// candidates are the functions that a pattern may stand for.
type candidates struct {
	lib       *symtab.Library
	functions []symtab.Symbol // sorted by name
	addresses addresses       // of the versions of the functions
	others    []string        // names of functions that no pattern stands for
	// addresses that an earlier pattern stood for, with their replacement
	taken map[uint64]string
}

// newCandidates collects them; what the description names itself is not one.
func newCandidates(lib *symtab.Library, named []Replacement) *candidates {
	c := &candidates{lib: lib, taken: map[uint64]string{}}
	never := map[uint64]bool{}
	for _, r := range named {
		for _, s := range symtab.Definitions(lib, r.Old.Text) {
			never[s.Value] = true
		}
	}
	for addr := range lib.Choosers() {
		never[addr] = true // a resolver has a name of its own in .symtab: memcpy_ifunc
	}
	for s := range lib.Symbols() {
		switch {
		case s.Undefined || !symtab.IsIFUNC(s) && s.Type() != elf.STT_FUNC:
		case never[s.Value] || strings.Contains(s.Name, "_chk") || symtab.IsClone(s.Name) ||
			!isPlain(s.Name):
			c.others = append(c.others, s.Name)
		default:
			c.functions = append(c.functions, s)
		}
	}
	slices.Sort(c.others)
	c.others = slices.Compact(c.others)
	c.addresses = addressesOf(c.functions)
	slices.SortFunc(c.functions, func(a, b symtab.Symbol) int {
		return cmp.Compare(a.Name, b.Name)
	})
	return c
}

// isPlain tells whether a symbol's name can stand in a description as it is. Symbol tables may hold
// any bytes, and what comes out of an expansion is written to a file.
func isPlain(name string) bool {
	return !strings.ContainsAny(name[:1], "!#@") &&
		!strings.ContainsFunc(name, func(r rune) bool {
			return r <= ' ' || r == 0x7f || strings.ContainsRune(":*?[", r)
		})
}

// match returns the names that the pattern stands for, sorted, and how many others it would have
// matched. An address that an earlier pattern gave the same replacement is left out, and so is one
// that is not among chosen, unless that is nil.
func (c *candidates) match(pattern, replacement string, chosen map[uint64]bool) (names []string,
	leftOut int) {
	best := map[uint64]string{}
	for _, s := range c.functions {
		name := c.matched(pattern, s)
		if name == "" {
			continue
		}
		if replacement != "" && c.taken[s.Value] == replacement || chosen != nil &&
			!chosen[s.Value] {
			leftOut++
			continue
		}
		if old, ok := best[s.Value]; !ok || len(name) < len(old) {
			best[s.Value] = name
		}
	}
	for address, name := range best {
		if replacement != "" {
			c.taken[address] = replacement
		}
		names = append(names, name)
	}
	for _, name := range c.others {
		if ok, _ := path.Match(pattern, name); ok {
			leftOut++
		}
	}
	slices.Sort(names)
	return names, leftOut
}

// matched returns the name by which the pattern stands for a function, "" if it does not. It has a
// version if the pattern has one, or if the name alone would be ambiguous.
func (c *candidates) matched(pattern string, s symtab.Symbol) string {
	if !strings.Contains(pattern, "@") {
		if ok, _ := path.Match(pattern, s.Name); !ok {
			return ""
		}
		switch versions := c.addresses[s.Name]; {
		case len(versions) < 2:
			return s.Name
		case s.Version == "" && versions[s.Value]:
			return "" // the row of .dynsym says which version it is
		}
		return s.Qualified()
	}
	for _, name := range versioned(s) {
		if ok, _ := path.Match(pattern, name); ok {
			return s.Qualified()
		}
	}
	return ""
}
