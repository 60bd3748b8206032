package ulp

import (
	"cmp"
	"debug/elf"
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// clone is a function that the compiler made of another one.
type clone struct {
	symtab.LocalSymbol
	cold bool // blocks of the function itself: see isCold
}

// clonesOf returns what the compiler made of the functions of lib, by the names of these.
func clonesOf(lib *symtab.Library) map[string][]clone {
	all := map[string][]clone{}
	for _, l := range lib.Locals(func(name string) bool { return strings.Contains(name, ".") }) {
		if of, cold, ok := symtab.CloneOf(l.Name); ok && l.Type() == elf.STT_FUNC && !l.Undefined {
			all[of] = append(all[of], clone{l, cold})
		}
	}
	return all
}

// replaced is a function of the description that was found.
type replaced struct {
	Replacement
	row symtab.Symbol
}

// checkClones refuses to leave copies of a replaced function as they are: callers in the library
// mostly call the copies.
func (k *checker) checkClones(functions []replaced) {
	clones := clonesOf(k.lib)
	if len(clones) == 0 {
		return
	}
	byAddress := map[uint64]*replaced{}
	for i := range functions {
		byAddress[functions[i].row.Value] = &functions[i]
	}
	names := map[uint64][]string{}
	for s := range k.lib.Symbols() {
		if byAddress[s.Value] != nil && s.Type() == elf.STT_FUNC && !s.Undefined &&
			!slices.Contains(names[s.Value], s.Name) {
			names[s.Value] = append(names[s.Value], s.Name)
		}
	}
	for i := range functions {
		f := &functions[i]
		left, entered := map[uint64]string{}, map[uint64]string{}
		for _, name := range names[f.row.Value] {
			file := k.fileOf(name, f.row)
			for _, c := range clones[name] {
				switch {
				case byAddress[c.Value] != nil, file != "" && c.File != "" && file != c.File:
				case !c.cold:
					left[c.Value] = c.Name
				case k.lib.IsEntered(c.Value):
					entered[c.Value] = c.Name
				}
			}
		}
		k.failClones(f, left, "%q is replaced, but not %s, which the compiler made of it: "+
			"callers of that still run the old code")
		k.failClones(f, entered, "%q is replaced, but other functions may jump into its part %s")
	}
}

// failClones reports the clones of a function that are left, if there are any.
func (k *checker) failClones(f *replaced, left map[uint64]string, format string) {
	if len(left) == 0 {
		return
	}
	var names []string
	for _, name := range left {
		names = append(names, name)
	}
	slices.Sort(names)
	k.fail(f.Old, ErrClone, fmt.Sprintf("replace it as well (%s:REPLACEMENT), by a function with "+
		"the same parameters as it has; or say why that is not needed: \"clones: {accept: "+
		"REASON}\" for this patch in lpbuild.yaml (ulp packer: --accept-clones)",
		names[0]), format, f.Old.Text, symtab.SomeOf(names))
}

// fileOf returns the source file of a static function; "" if it is not static, or not known.
func (k *checker) fileOf(name string, row symtab.Symbol) string {
	if row.Bind() != elf.STB_LOCAL {
		return ""
	}
	for _, l := range k.lib.Locals(func(n string) bool { return n == name }) {
		if l.Value == row.Value {
			return l.File
		}
	}
	return ""
}

// onlyClones returns a hint if there is nothing of a function but what the compiler made of it.
func (k *checker) onlyClones(name string) string {
	var names []string
	for _, c := range clonesOf(k.lib)[name] {
		if !c.cold {
			names = append(names, c.Name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	if names = slices.Compact(names); len(names) == 0 {
		return ""
	}
	if len(names) > symtab.MaxListed {
		names = append(names[:symtab.MaxListed], "...")
	}
	return "the compiler has left only " + strings.Join(names, ", ") +
		" of it: name that, and give the replacement its parameters, which may be others than in " +
		"the source"
}

// elsewhere returns a hint if a name of the target is not at the place that the description says,
// or exists only as a clone.
func (k *checker) elsewhere(name string) string {
	if k.hints > maxHints {
		return ""
	}
	place, base := symtab.SplitPlace(name)
	if place == "" {
		return k.onlyClones(name)
	}
	var files []string
	for _, l := range k.lib.Locals(func(n string) bool { return n == base }) {
		if l.File != "" && !l.Undefined {
			files = append(files, l.File+"/"+base)
		}
	}
	slices.Sort(files)
	if files = slices.Compact(files); len(files) == 0 {
		return k.onlyClones(base)
	}
	return "there is " + symtab.SomeOf(files)
}
