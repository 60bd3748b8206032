package ulp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
)

// near returns a hint with the names that may have been meant, or "".
func (k *checker) near(name string, lib *Library, want func(Symbol) bool) string {
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
func namesOf(lib *Library, want func(Symbol) bool) []string {
	var names []string
	for s := range lib.Symbols() {
		if want(s) {
			names = append(names, s.Name)
		}
	}
	return names
}

// listed is how many names a hint lists at most.
const listed = 10

// patchable returns a hint with the functions of the same family that can be replaced. Others are of no use to someone whose
// fix is for this one.
func (k *checker) patchable(name string) string {
	if k.hints++; k.hints > maxHints {
		return ""
	}
	names := namesOf(k.lib, func(s Symbol) bool { return isFunction(s) && (s.Patchable || k.any && k.lib.isProven(s.Value)) })
	slices.Sort(names)
	names = slices.Compact(names)
	hint := fmt.Sprintf("%d other functions of %s are patchable", len(names), k.lib.Name)
	if len(names) == 1 {
		hint = fmt.Sprintf("one other function of %s is patchable", k.lib.Name)
	}
	ifunc, at := k.lib.implementing(name)
	if ifunc == "" {
		return hint
	}
	known := slices.ContainsFunc(at, func(addr uint64) bool { return k.lib.unknownResolver(addr) == "" })
	names = slices.DeleteFunc(names, func(n string) bool {
		if isClone(n) || strings.Contains(n, "_chk") != strings.Contains(name, "_chk") {
			return true
		}
		s, _ := k.lib.Lookup(n)
		return known && !slices.ContainsFunc(at, func(addr uint64) bool {
			r := k.lib.resolver(addr)
			return r != nil && slices.Contains(r.returns, s.Value)
		}) || !known && !strings.HasPrefix(strings.TrimLeft(n, "_"), ifunc+"_")
	})
	if len(names) == 0 {
		return fmt.Sprintf("%s, but no other implementation of %s", hint, ifunc)
	}
	return fmt.Sprintf("of the implementations of %s these are patchable: %s", ifunc, someOf(names))
}

// anyHint returns the end of a hint if functions without NOPs can be replaced where that is permitted, "" otherwise.
func (k *checker) anyHint(functions ...Replacement) string {
	const how = "\"entries: any\" (lpbuild.yaml; ulp packer: --entries=any) makes a live patch for the native engine, which "
	switch {
	case k.lib.Arch != X86_64:
		return ""
	case !k.lib.HasProofs():
		return "; " + how + "can replace most functions without NOPs"
	}
	for _, r := range functions {
		if s, ok := k.lib.Function(r.Old.Text); !ok || !s.Patchable && !k.lib.isProven(s.Value) {
			return ""
		}
	}
	return "; " + how + "can replace it without NOPs"
}

// some returns a hint with functions of the library that can be replaced, for someone whose name is
// like none of them; "" if there is no such function. Exported ones go first, since others know them.
func (k *checker) some() string {
	var exported, private []string
	for s := range k.lib.Symbols() {
		switch {
		case !isFunction(s) || !s.Patchable && !k.lib.isProven(s.Value) || s.Name[0] == '_' || isClone(s.Name) || k.resolvers()[s.Value]:
		case s.Dynamic:
			exported = append(exported, s.Name)
		default:
			private = append(private, s.Name)
		}
	}
	slices.Sort(exported)
	slices.Sort(private)
	private = slices.DeleteFunc(private, func(name string) bool { _, is := slices.BinarySearch(exported, name); return is })
	names := slices.Compact(append(exported, private...))
	switch {
	case len(names) == 0:
		return ""
	case len(names) <= listed:
		return "these functions can be replaced: " + strings.Join(names, ", ")
	}
	return "these functions can be replaced, for example: " + someOf(names)
}

// implementations returns a hint with the functions that an indirect function may choose.
func (k *checker) implementations(name string) string {
	if k.hints++; k.hints > maxHints {
		return ""
	}
	rows := k.meant(k.lib, name)
	base, _ := SplitVersion(name)
	prefix := "__" + strings.TrimLeft(base, "_") + "_"
	known := map[uint64]bool{}
	why := ""
	for _, s := range rows {
		if !isIFUNC(s) && !k.resolvers()[s.Value] {
			continue // another version of the name, which is a plain function
		}
		if why = k.lib.unknownResolver(s.Value); why != "" {
			break
		}
		for _, at := range k.lib.resolver(s.Value).returns {
			known[at] = true
		}
	}
	names := namesOf(k.lib, func(s Symbol) bool {
		return isFunction(s) && !strings.Contains(s.Name, "_chk") && !isClone(s.Name) && !k.resolvers()[s.Value] &&
			(why == "" && known[s.Value] || why != "" && strings.HasPrefix(s.Name, prefix))
	})
	slices.Sort(names)
	names = slices.Compact(names)
	_, chosen := k.lib.implementing(prefix)
	like := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, prefix) })
	switch {
	case len(names) == 0 && k.stripped():
		return "name the implementations; the library is stripped of their names: add its debuginfo"
	case len(names) == 0:
		return "name the implementations"
	case why != "":
		return fmt.Sprintf("name the implementations; by their names these may be some of them, but it is not known which it can choose (%s): %s",
			why, someOf(names))
	case like && len(chosen) > 0:
		return fmt.Sprintf("name the implementations, one by one or by the pattern %s*: %s", prefix, someOf(names))
	}
	return "name the implementations, one by one: " + someOf(names)
}

// otherNames returns a hint with names that belong to only one of the places.
func (k *checker) otherNames(rows []Symbol) string {
	if k.hints++; k.hints > maxHints {
		return places(rows)
	}
	var names []string
	for s := range k.lib.Symbols() {
		if s.Name != rows[0].Name && isFunction(s) && hasAddress(s.Value, rows) && !strings.Contains(s.Name, "@") {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) == 0 {
		return places(rows)
	}
	return places(rows) + "; other names for them are " + strings.Join(names[:min(listed, len(names))], ", ")
}

// places lists where the symbol is, with versions if there are any.
func places(rows []Symbol) string {
	var at []string
	for _, s := range rows {
		place := fmt.Sprintf("%x", s.Value)
		switch {
		case s.Default:
			place += " (" + s.Version + ", the default)"
		case s.Version != "":
			place += " (" + s.Version + ")"
		}
		if !slices.ContainsFunc(at, func(p string) bool { return strings.HasPrefix(p+" ", fmt.Sprintf("%x ", s.Value)) }) {
			at = append(at, place)
		}
	}
	more := ""
	if len(at) > listed {
		at, more = at[:listed], " ..."
	}
	return fmt.Sprintf("%q is at %s%s", rows[0].Name, strings.Join(at, ", "), more)
}
