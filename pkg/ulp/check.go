package ulp

import (
	"cmp"
	"debug/elf"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Check returns every reason why the live patch c, described by d, cannot work on the library lib.
// The error is a [diag.List] with positions in the description, hints with the names that may have
// been meant, and in Diagnostic.Err the typed reason: [ErrNoSymbol], [ErrIFUNC], [ErrNotPatchable]
// and so on.
//
// With [symtab.EntriesAny], a function without NOPs is accepted if the library's proofs say that
// the native engine can replace it; [symtab.Library.HasProofs] should be asked before.
//
// What the library's facts do not tell is not refused: see [symtab.Library.Complete]. Names of
// functions that are still patterns are looked up as they stand, so expand first. If c or lib is
// nil, only what does not need it is checked.
func Check(d *Description, c *Container, lib *symtab.Library, entries symtab.Entries) error {
	k := newChecker(d, c, lib, entries)
	k.check()
	return k.errs.Err()
}

// check looks for every reason, of which it notes those that there are.
func (k *checker) check() {
	if k.c != nil && k.lib != nil {
		k.files()
	}
	if len(k.d.Functions) == 0 {
		k.fail(k.d.Target, ErrNothing, "add a line OLD:NEW for each function to replace",
			"the description replaces no function of %s", path.Base(k.d.Target.Text))
	}
	var found []replaced
	functions, addresses := map[string]Name{}, map[uint64]Name{}
	for _, r := range k.d.Functions {
		if k.lib != nil {
			if row, ok := k.function(r, functions, addresses); ok {
				found = append(found, replaced{r, row})
			}
		}
		if k.c != nil {
			k.replacement(r.New)
		}
	}
	if k.lib != nil && !k.acceptClones {
		k.checkClones(found)
	}
	pointers := map[string]Name{}
	for _, r := range k.references() {
		k.reference(r, pointers)
	}
	if k.c != nil {
		k.unfilled()
	}
}

// checker is the state of one Check.
type checker struct {
	d         *Description
	c         *Container
	lib       *symtab.Library
	container string // base name
	any       bool   // functions without NOPs are accepted if it is proven
	errs      diag.List
	said      map[finding]bool
	// acceptClones is set if copies of replaced functions need not be replaced.
	acceptClones bool
	found        map[lookup][]symtab.Symbol
	hints        int         // searches for near names so far: they are what costs time
	stripped     func() bool // the library's private symbols are not known
	// resolvers are the addresses of the code that chooses the implementation of an indirect
	// function: it has a name of its own in .symtab.
	resolvers func() map[uint64]bool
}

func newChecker(d *Description, c *Container, lib *symtab.Library,
	entries symtab.Entries) *checker {
	return &checker{d: d, c: c, lib: lib, any: entries == symtab.EntriesAny,
		container: path.Base(d.Container.Text), found: map[lookup][]symtab.Symbol{},
		said: map[finding]bool{}, stripped: sync.OnceValue(func() bool {
			return !lib.NamesPrivate()
		}), resolvers: sync.OnceValue(func() map[uint64]bool { return lib.Choosers() })}
}

// finding is what was said about a place.
type finding struct {
	pos     diag.Pos
	message string
}

// lookup is a name that was looked for in a library.
type lookup struct {
	lib  *symtab.Library
	name string
}

// meant is the function of that name, whose results are kept: what is checked is packed next.
func (k *checker) meant(lib *symtab.Library, name string) []symtab.Symbol {
	rows, ok := k.found[lookup{lib, name}]
	if !ok {
		rows = symtab.Definitions(lib, name)
		k.found[lookup{lib, name}] = rows
	}
	return rows
}

// maxHints bounds the searches for near names, of which each looks at every symbol. No one reads so
// many.
const maxHints = 50

func (k *checker) fail(n Name, err error, hint, format string, args ...any) {
	found := k.d.finding(n, err, format, args...)
	found.Hint = hint
	if said := (finding{found.Pos, found.Message}); found.Line > 0 {
		if k.said[said] {
			return // of another function that the same pattern stands for
		}
		k.said[said] = true
	}
	k.errs = append(k.errs, found)
}

// files checks what can be said without looking at names.
func (k *checker) files() {
	k.errs = append(k.errs, buildIDFindings(k.d, k.c, k.lib)...)
	if a, b := k.c.Arch, k.lib.Arch; a != b && a != "" && b != "" {
		k.fail(k.d.Container, ErrArch, "", "%s is for %s, but %s for %s", k.container, a,
			k.lib.Name, b)
	}
	named := path.Base(k.d.Target.Text)
	// A catalogue is found by its own name, which need not tell the library's.
	if !strings.HasSuffix(named, ".json") && named != k.lib.Name && named != k.lib.SONAME {
		k.fail(k.d.Target, ErrTarget, "\"library\" of the patch in lpbuild.yaml (ulp packer: -t) "+
			"says which library it is", "the description is for %s, but the library given is %s",
			named, k.lib.Name)
	}
	if k.lib.Complete && !k.lib.Livepatchable && len(k.d.Functions) > 0 && !k.any {
		k.fail(k.d.Target, ErrNotPatchable, "it was built without -fpatchable-function-entry"+
			k.anyHint(k.d.Functions...), "%s is not livepatchable: none of its functions has the "+
			"NOPs for a detour", k.lib.Name)
	}
}

// buildIDFindings reports missing build-ids, without which there is no patch id and no target to
// find.
func buildIDFindings(d *Description, c *Container, lib *symtab.Library) diag.List {
	var errs diag.List
	for _, f := range []struct {
		n    Name
		what string
		id   []byte
		hint string
	}{
		{d.Container, path.Base(d.Container.Text), c.BuildID, "link with -Wl,--build-id=sha1"},
		// A library that was released is in memory as it is: to link it again would make another
		// one.
		{d.Target, lib.Name, lib.BuildID, fmt.Sprintf("live patches name a library by a build-id "+
			"of %d bytes (SHA-1): none can be made for this build of it; leave the build "+
			"out", buildIDSize)},
	} {
		if len(f.id) == buildIDSize {
			continue
		}
		found := d.finding(f.n, ErrNoBuildID, "%s has no build-id", f.what)
		if len(f.id) > 0 {
			found.Message = fmt.Sprintf("the build-id of %s has %d bytes; %d are wanted", f.what,
				len(f.id), buildIDSize)
		}
		found.Hint = f.hint
		errs = append(errs, found)
	}
	return errs
}

// function checks the name of a function to replace, and returns what it stands for unless that is
// refused. names and addresses are of those before it.
func (k *checker) function(r Replacement, names map[string]Name,
	addresses map[uint64]Name) (row symtab.Symbol, ok bool) {
	n := r.Old
	if first, ok := names[n.Text]; ok {
		k.fail(n, ErrDuplicate, "one function has one replacement", "%q is replaced twice%s",
			n.Text, inLine(first))
		return row, false
	}
	names[n.Text] = n
	rows := k.meant(k.lib, n.Text)
	switch {
	case len(rows) == 0:
		k.absent(n, k.lib, k.lib.Name, symtab.IsFunction, k.some)
		return row, false
	case slices.ContainsFunc(rows, symtab.IsIFUNC) || k.resolvers()[rows[0].Value]:
		k.fail(n, ErrIFUNC, k.implementations(n.Text),
			"%q is an indirect function (IFUNC) of %s: its code only chooses the implementation, "+
				"once in the life of a process", n.Text, k.lib.Name)
		return row, false
	case rows[0].Type() != elf.STT_FUNC:
		k.fail(n, ErrNotFunction, k.near(n.Text, k.lib, symtab.IsFunction),
			"%q is not a function of %s but %s", n.Text, k.lib.Name, symtab.KindOf(rows[0]))
		return row, false
	case symtab.IsAmbiguous(rows):
		k.fail(n, ErrAmbiguous, k.chooseFunction(r, rows), "%q is several functions of %s", n.Text,
			k.lib.Name)
		return row, false
	}
	if first, ok := addresses[rows[0].Value]; ok {
		k.fail(n, ErrDuplicate, "", "%q is another name of %q, which is replaced already%s", n.Text,
			first.Text, inLine(first))
		return row, false
	}
	addresses[rows[0].Value] = n
	switch why, ok := k.lib.EntryProof(rows[0].Value); {
	case !k.lib.Complete || rows[0].Patchable || !k.lib.Livepatchable && !k.any:
	case !k.any:
		k.fail(n, ErrNotPatchable, k.patchable(n.Text)+k.anyHint(r),
			"%q has no NOPs for a detour in this build of %s", n.Text, k.lib.Name)
	case !ok || why != "":
		k.fail(n, ErrNotPatchable, k.patchable(n.Text), "%q has no NOPs for a detour in this "+
			"build of %s, and a jump over its first instructions is not proven to be safe: "+
			"%s", n.Text, k.lib.Name,
			cmp.Or(why, k.unknown()))
	}
	if why := k.lib.ReliedOn(rows[0].Value); why != "" {
		k.fail(n, ErrRegisters, "replace the caller instead, by code that does not call "+n.Text,
			"%q cannot be replaced in this build of %s: %s", n.Text, k.lib.Name, why)
	}
	return rows[0], true
}

// unknown returns why there is no proof of a function.
func (k *checker) unknown() string {
	if k.lib.Arch != symtab.X86_64 {
		return fmt.Sprintf("no engine does that on %s", k.lib.Arch)
	}
	return "nothing is known of its code"
}

// inLine returns " (first in line 7)", or nothing if the place is not known.
func inLine(n Name) string {
	if n.Pos.Line == 0 {
		return ""
	}
	return fmt.Sprintf(" (first in line %d)", n.Pos.Line)
}

// replacement checks the name of a function of the container.
func (k *checker) replacement(n Name) {
	lib := &k.c.Library
	rows := k.meant(lib, n.Text)
	if _, version := symtab.SplitVersion(n.Text); version != "" {
		k.fail(n, ErrNotExported, "name it without a version", "%q has a symbol version: engines "+
			"look replacements up by their names", n.Text)
		return
	}
	if len(rows) == 0 {
		k.absent(n, lib, k.container, symtab.IsExportedFunction, nil)
		return
	}
	for _, s := range rows {
		switch {
		case !s.Dynamic:
			continue
		case symtab.IsIFUNC(s):
			k.fail(n, ErrIFUNC, "", "%q is an indirect function (IFUNC) of %s; a replacement "+
				"must be an ordinary one", n.Text, k.container)
		case s.Type() != elf.STT_FUNC:
			k.fail(n, ErrNotFunction, k.near(n.Text, lib, symtab.IsExportedFunction),
				"%q is not a function of %s but %s", n.Text, k.container, symtab.KindOf(s))
		case symtab.IsAmbiguous(rows):
			k.fail(n, ErrAmbiguous, "give each a name of its own", "%q is several functions of %s",
				n.Text, k.container)
		}
		return
	}
	k.fail(n, ErrNotExported, "it must be neither static nor hidden, and no version script may "+
		"make it local",
		"%q is in %s but not exported", n.Text, k.container)
}

// stripped is a hint about a library of which only the exported symbols are known.
const stripped = "the library is stripped of what it does not export: add its debuginfo"

// absent reports that the name n is not defined in lib, called file; want tells which names may
// have been meant. If none is like n, otherwise makes the hint; it may be nil.
func (k *checker) absent(n Name, lib *symtab.Library, file string, want func(symtab.Symbol) bool,
	otherwise func() string) {
	hint := ""
	if lib == k.lib {
		hint = k.elsewhere(n.Text)
	}
	if hint == "" {
		hint = k.near(n.Text, lib, want)
	}
	if hint == "" && otherwise != nil && k.hints <= maxHints {
		hint = otherwise()
	}
	if lib == k.lib && k.stripped() {
		hint = strings.TrimPrefix(hint+"; ", "; ") + stripped
	}
	if base, version := symtab.SplitVersion(n.Text); version != "" {
		if names := symtab.VersionNames(lib.LookupAll(base)); len(names) > 0 {
			hint = "there are " + strings.Join(names, ", ")
		}
	}
	if len(lib.LookupAll(n.Text)) > 0 {
		k.fail(n, ErrNoSymbol, hint, "symbol %q is not in %s, which only uses it from elsewhere",
			n.Text, file)
		return
	}
	k.fail(n, ErrNoSymbol, hint, "symbol %q is not in %s", n.Text, file)
}
