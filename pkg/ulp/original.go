package ulp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// A replacement calls the function that it replaces through a pointer in the container. For a
// replacement of malloc, the source defines
//
//	__typeof__(malloc) *lpbuild_original_malloc;
//
// and calls lpbuild_original_malloc(size). The pointer's name is [OriginalPrefix] and the name of a
// function that the live patch replaces, or another name of that function. Such a pointer is a
// reference without a line in the description. Where the function's name is no C identifier or
// stands for several functions, a line "#bar@V1:lpbuild_original_bar_v1" says which one is meant.
//
// The pointer leads into the library's code, after the two bytes at the entry that a detour
// replaces. What runs there is the function as the library has it, whichever live patches were
// applied before or are applied later. Engines treat it as any other reference. Where a function
// has no NOPs, the detour replaces instructions, and only the native engine knows where these were
// moved: the metadata then have [OriginalMoved], and the engine fills in the place.

// OriginalPrefix begins the names of pointers to the former code of replaced functions.
const OriginalPrefix = "lpbuild_original_"

// OriginalMoved is the target offset of a reference to a function without NOPs. It is in no
// library, so that an engine that does not know it refuses the live patch or writes an address
// that is no one's.
const OriginalMoved = 1 << 62

// IsOriginal reports whether a pointer of that name is one to the former code of a function.
func IsOriginal(pointer string) bool {
	return strings.HasPrefix(pointer, OriginalPrefix) && len(pointer) > len(OriginalPrefix)
}

// references returns the references of the description, and those to former code that the container
// asks for by the names of its variables.
func (k *checker) references() []Reference {
	list := slices.Clone(k.d.References)
	if k.c == nil || k.lib == nil {
		return list
	}
	for _, pointer := range k.originals() {
		if slices.ContainsFunc(list, func(r Reference) bool { return r.Pointer.Text == pointer }) {
			continue
		}
		if old, ok := k.originalOf(pointer); ok {
			list = append(list, Reference{Variable: old, Pointer: Name{pointer, old.Pos},
				Pos: old.Pos})
		}
	}
	return list
}

// originals returns the names of the container's pointers to former code, in order.
func (k *checker) originals() []string {
	var names []string
	for s := range k.c.Symbols() {
		if IsOriginal(s.Name) && !s.Undefined {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > maxOriginals {
		k.fail(k.d.Container, ErrOriginal, "", "%s has %d pointers to former code; it may have %d",
			k.container, len(names), maxOriginals)
		return nil
	}
	return names
}

// maxOriginals bounds the pointers to former code, for each of which all functions are looked at.
const maxOriginals = 1000

// unfilled refuses pointers to former code that no engine would fill in: such as are declared and
// not defined, those in namespaces of C++, and those whose name is nearly right.
func (k *checker) unfilled() {
	for s := range k.c.Symbols() {
		if strings.HasPrefix(s.Name, reservedPrefix) && !IsOriginal(s.Name) &&
			symtab.IsVariable(s) {
			k.fail(Name{s.Name, k.d.Container.Pos}, ErrOriginal,
				"a pointer to former code begins with "+OriginalPrefix+
					"; what is none needs another name",
				"%q of %s begins like a pointer to former code, and no engine fills it in", s.Name,
				k.container)
		}
		if strings.HasPrefix(s.Name, "_Z") && strings.Contains(s.Name, OriginalPrefix) &&
			symtab.IsVariable(s) {
			k.fail(Name{s.Name, k.d.Container.Pos}, ErrOriginal,
				"define it as a variable outside of namespaces and classes",
				"%q of %s is no pointer to former code", s.Name, k.container)
		}
	}
	for _, u := range k.c.Undefined() {
		if name, ok := strings.CutPrefix(u.Name, OriginalPrefix); ok && name != "" {
			k.fail(Name{u.Name, k.d.Container.Pos}, ErrOriginal,
				"define it outside of functions, as a pointer: "+definition(name),
				"%q is declared in the source of %s but not defined", u.Name, k.container)
		}
	}
}

// reservedPrefix begins the names of what engines fill in.
const reservedPrefix = "lpbuild_"

// definition returns a line of C that defines the pointer to the former code of a function.
func definition(name string) string {
	return fmt.Sprintf("__typeof__(%s) *%s%[1]s;", name, OriginalPrefix)
}

// originalOf returns the name, as the description has it, of the replaced function that a pointer
// is named after.
func (k *checker) originalOf(pointer string) (old Name, ok bool) {
	name := strings.TrimPrefix(pointer, OriginalPrefix)
	at := map[uint64]bool{} // where functions of that name are
	for _, s := range k.lib.LookupAll(name) {
		if symtab.IsFunction(s) {
			at[s.Value] = true
		}
	}
	var found []Name
	var others []string
	for _, r := range k.d.Functions {
		base, _ := symtab.SplitVersion(r.Old.Text)
		if _, base = symtab.SplitPlace(base); base != name {
			others = append(others, base)
		}
		if rows := k.meant(k.lib, r.Old.Text); len(rows) > 0 &&
			(base == name || at[rows[0].Value]) {
			found = append(found, r.Old)
		}
	}
	where := Name{pointer, k.d.Container.Pos}
	switch {
	case len(found) == 1:
		return found[0], true
	case len(found) > 1:
		var lines []string
		for i, n := range found {
			lines = append(lines, fmt.Sprintf("#%s:%s_%d", n.Text, pointer, i+1))
		}
		k.fail(where, ErrAmbiguous, "define a pointer for each, and say in the description what "+
			"it is for: "+symtab.SomeOf(lines),
			"%q: the live patch replaces several functions %q", pointer, name)
	case len(at) > 0:
		k.fail(where, ErrOriginal, fmt.Sprintf("call %s itself, or replace it", name),
			"%q: the live patch does not replace %q", pointer, name)
	default:
		hint := fmt.Sprintf("a line #FUNCTION:%s in the description says which one is meant",
			pointer)
		if near := diag.Nearest(name, others, 1); len(near) > 0 {
			hint = fmt.Sprintf("did you mean %s%s? %s", OriginalPrefix, near[0], hint)
		}
		k.fail(where, ErrOriginal, hint, "%q: the live patch replaces no function %q", pointer,
			name)
	}
	return Name{}, false
}

// original checks the target's side of a reference to former code. It returns the name that the
// description has for the replaced function, and the target offset.
func (k *checker) original(r Reference) (old string, offset uint64) {
	n := r.Variable
	rows := k.meant(k.lib, n.Text)
	switch {
	case r.TLS:
		k.fail(n, ErrTLS, "write #"+n.Text, "%q is for the former code of a function",
			r.Pointer.Text)
	case r.Explicit:
		k.fail(n, ErrOriginal, fmt.Sprintf("write #%s:%s", n.Text, r.Pointer.Text),
			"%q is for the former code of a function, which lpbuild finds without offsets",
			r.Pointer.Text)
	case len(rows) == 0:
		k.absent(n, k.lib, k.lib.Name, symtab.IsFunction, nil)
	case symtab.IsAmbiguous(rows):
		k.fail(n, ErrAmbiguous, places(rows), "%q is several functions of %s", n.Text, k.lib.Name)
	default:
		for _, f := range k.d.Functions {
			if of := k.meant(k.lib, f.Old.Text); len(of) > 0 && of[0].Value == rows[0].Value {
				return f.Old.Text, k.originalOffset(n, rows[0])
			}
		}
		k.fail(n, ErrOriginal, "name a function that the live patch replaces, or the pointer "+
			"differently",
			"%q is for the former code of a function, and the live patch does not replace %q",
			r.Pointer.Text, n.Text)
	}
	return "", 0
}

// originalOffset returns where the former code of a replaced function begins.
func (k *checker) originalOffset(n Name, s symtab.Symbol) uint64 {
	switch {
	case !k.lib.Complete:
		k.fail(n, ErrOriginal, "extract the catalogue with lpbuild",
			"the former code of %q cannot be called: the catalogue of %s does not tell how the "+
				"function begins", n.Text, k.lib.Name)
	case k.lib.Arch != symtab.X86_64:
		k.fail(n, ErrOriginal, "copy what is needed into the source",
			"the former code of %q cannot be called: that works on %s only, not on %s", n.Text,
			symtab.X86_64, k.lib.Arch)
	case !s.Patchable:
		return OriginalMoved
	case !k.lib.Landings:
		k.fail(n, ErrOriginal, "run lpbuild download again (ulp packer: extract the catalogue "+
			"again)",
			"the former code of %q cannot be called: the catalogue of %s, by another version of "+
				"lpbuild, does not tell where it begins",
			n.Text, k.lib.Name)
	case s.Landing:
		return s.Value + uint64(len(symtab.ENDBR64)) + symtab.X86NOPsAt
	default:
		return s.Value + symtab.X86NOPsAt
	}
	return 0
}
