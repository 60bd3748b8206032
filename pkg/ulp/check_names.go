package ulp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// near returns a hint with the names that may have been meant, or "".
func (k *checker) near(name string, lib *symtab.Library, want func(symtab.Symbol) bool) string {
	if k.hints++; k.hints > maxHints {
		return ""
	}
	names := diag.Nearest(name, namesOf(lib, want), 3)
	if len(names) == 0 {
		return ""
	}
	return "did you mean " + strings.Join(names, " or ") + "?"
}

// namesOf returns the names of the symbols that want accepts, in no order, some perhaps twice.
func namesOf(lib *symtab.Library, want func(symtab.Symbol) bool) []string {
	var names []string
	for s := range lib.Symbols() {
		if want(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

// patchable returns a hint with the functions of the same family that can be replaced. Others are
// of no use to someone whose fix is for this one.
func (k *checker) patchable(name string) string {
	if k.hints++; k.hints > maxHints {
		return ""
	}
	names := namesOf(k.lib, func(s symtab.Symbol) bool {
		return symtab.IsFunction(s) && (s.Patchable || k.any && k.lib.IsProven(s.Value))
	})
	slices.Sort(names)
	names = slices.Compact(names)
	hint := fmt.Sprintf("%d other functions of %s are patchable", len(names), k.lib.Name)
	if len(names) == 1 {
		hint = fmt.Sprintf("one other function of %s is patchable", k.lib.Name)
	}
	ifunc, at := k.lib.Implementing(name)
	if ifunc == "" {
		return hint
	}
	known := slices.ContainsFunc(at, func(addr uint64) bool {
		return k.lib.UnknownResolver(addr) == ""
	})
	names = slices.DeleteFunc(names, func(n string) bool {
		if symtab.IsClone(n) || strings.Contains(n, "_chk") != strings.Contains(name, "_chk") {
			return true
		}
		s, _ := k.lib.Lookup(n)
		return known && !slices.ContainsFunc(at, func(addr uint64) bool {
			r := k.lib.Resolver(addr)
			return r != nil && slices.Contains(r.Returns, s.Value)
		}) || !known && !strings.HasPrefix(strings.TrimLeft(n, "_"), ifunc+"_")
	})
	if len(names) == 0 {
		return fmt.Sprintf("%s, but no other implementation of %s", hint, ifunc)
	}
	return fmt.Sprintf("of the implementations of %s these are patchable: %s", ifunc,
		symtab.SomeOf(names))
}

// anyHint returns the end of a hint if functions without NOPs can be replaced where that is
// permitted, "" otherwise.
func (k *checker) anyHint(functions ...Replacement) string {
	const how = "\"entries: any\" (lpbuild.yaml; ulp packer: --entries=any) makes a live patch " +
		"for the native engine, which "
	switch {
	case k.lib.Arch != symtab.X86_64:
		return ""
	case !k.lib.HasProofs():
		return "; " + how + "can replace most functions without NOPs"
	}
	for _, r := range functions {
		if s, ok := k.lib.Function(r.Old.Text); !ok || !s.Patchable && !k.lib.IsProven(s.Value) {
			return ""
		}
	}
	return "; " + how + "can replace it without NOPs"
}

// some returns a hint with functions of the library that can be replaced, for someone whose name is
// like none of them; "" if there is no such function. Exported ones go first, since others know
// them.
func (k *checker) some() string {
	var exported, private []string
	for s := range k.lib.Symbols() {
		switch {
		case !symtab.IsFunction(s) || !s.Patchable && !k.lib.IsProven(s.Value) ||
			s.Name[0] == '_' || symtab.IsClone(s.Name) || k.resolvers()[s.Value]:
		case s.Dynamic:
			exported = append(exported, s.Name)
		default:
			private = append(private, s.Name)
		}
	}
	slices.Sort(exported)
	slices.Sort(private)
	private = slices.DeleteFunc(private, func(name string) bool {
		_, is := slices.BinarySearch(exported, name)
		return is
	})
	names := slices.Compact(append(exported, private...))
	switch {
	case len(names) == 0:
		return ""
	case len(names) <= symtab.MaxListed:
		return "these functions can be replaced: " + strings.Join(names, ", ")
	}
	return "these functions can be replaced, for example: " + symtab.SomeOf(names)
}

// implementations returns a hint with the functions that an indirect function may choose.
func (k *checker) implementations(name string) string {
	if k.hints++; k.hints > maxHints {
		return ""
	}
	rows := k.meant(k.lib, name)
	base, _ := symtab.SplitVersion(name)
	prefix := "__" + strings.TrimLeft(base, "_") + "_"
	known := map[uint64]bool{}
	why := ""
	for _, s := range rows {
		if !symtab.IsIFUNC(s) && !k.resolvers()[s.Value] {
			continue // another version of the name, which is a plain function
		}
		if why = k.lib.UnknownResolver(s.Value); why != "" {
			break
		}
		for _, at := range k.lib.Resolver(s.Value).Returns {
			known[at] = true
		}
	}
	names := namesOf(k.lib, func(s symtab.Symbol) bool {
		return symtab.IsFunction(s) && !strings.Contains(s.Name, "_chk") &&
			!symtab.IsClone(s.Name) && !k.resolvers()[s.Value] &&
			(why == "" && known[s.Value] || why != "" && strings.HasPrefix(s.Name, prefix))
	})
	slices.Sort(names)
	names = slices.Compact(names)
	_, chosen := k.lib.Implementing(prefix)
	like := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) })
	switch {
	case len(names) == 0 && k.stripped():
		return "name the implementations; the library is stripped of their names: add its debuginfo"
	case len(names) == 0:
		return "name the implementations"
	case why != "":
		return fmt.Sprintf("name the implementations; by their names these may be some of them, "+
			"but it is not known which it can choose (%s): %s",
			why, symtab.SomeOf(names))
	case like && len(chosen) > 0:
		return fmt.Sprintf("name the implementations, one by one or by the pattern %s*: %s", prefix,
			symtab.SomeOf(names))
	}
	return "name the implementations, one by one: " + symtab.SomeOf(names)
}

// otherNames returns a hint with names that belong to only one of the places.
func (k *checker) otherNames(rows []symtab.Symbol) string {
	if k.hints++; k.hints > maxHints {
		return places(rows)
	}
	var names []string
	for s := range k.lib.Symbols() {
		if s.Name != rows[0].Name && symtab.IsFunction(s) && hasAddress(s.Value, rows) &&
			!strings.Contains(s.Name, "@") {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return places(rows)
	}
	return places(rows) + "; other names for them are " +
		strings.Join(names[:min(symtab.MaxListed, len(names))], ", ")
}

// places lists where the symbol is, with versions if there are any.
func places(rows []symtab.Symbol) string {
	var at []string
	for _, s := range rows {
		place := fmt.Sprintf("%x", s.Value)
		switch {
		case s.Default:
			place += " (" + s.Version + ", the default)"
		case s.Version != "":
			place += " (" + s.Version + ")"
		}
		if !slices.ContainsFunc(at, func(p string) bool {
			return strings.HasPrefix(p+" ", fmt.Sprintf("%x ", s.Value))
		}) {
			at = append(at, place)
		}
	}
	more := ""
	if len(at) > symtab.MaxListed {
		at, more = at[:symtab.MaxListed], " ..."
	}
	return fmt.Sprintf("%q is at %s%s", rows[0].Name, strings.Join(at, ", "), more)
}
