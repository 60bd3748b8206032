package symtab

import (
	"bytes"
	"debug/elf"
	"errors"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// ParseLibrary reads a library from the bytes of its ELF file and, unless debug is nil, adds the
// symbols of its separate debuginfo file. name becomes Library.Name.
//
// An error is a *[FormatError] that may wrap [ErrUnsupported], or a *[BuildIDError] if debug
// belongs to another library.
func ParseLibrary(elfImage, debug []byte, name string) (*Library, error) {
	var debugFile openELF
	if debug != nil {
		debugFile = func() (*elfx.File, error) { return elfx.Parse(debug) }
	}
	return newLibrary(func() (*elfx.File, error) { return elfx.Parse(elfImage) }, debugFile, name,
		LibraryOptions{})
}

// openELF opens an ELF file from wherever it is.
type openELF func() (*elfx.File, error)

// newLibrary reads a library and, unless debug is nil, its separate debuginfo.
func newLibrary(library, debug openELF, name string, o LibraryOptions) (*Library, error) {
	f, err := library()
	if err != nil {
		return nil, AsFormatError(err)
	}
	l, b, err := readLibrary(f, name)
	if err != nil {
		return nil, AsFormatError(err)
	}
	if debug != nil {
		if err := l.addDebuginfo(b, debug); err != nil {
			return nil, AsFormatError(err)
		}
	}
	more := l.proveResolvers
	if o.Prove {
		more = l.proveEntries
	}
	if err := more(f); err != nil {
		return nil, AsFormatError(err)
	}
	if o.Prove || o.Callers && l.Livepatchable {
		if err := l.proveCallers(f); err != nil {
			return nil, AsFormatError(err)
		}
	}
	return l, nil
}

// FromELF reads a library without its name and without separate debuginfo, and returns its dynamic
// section as well.
func FromELF(f *elfx.File) (*Library, *elfx.Dynamic, error) {
	l, b, err := readLibrary(f, "")
	if err != nil {
		return nil, nil, AsFormatError(err)
	}
	return l, b.dynamic, nil
}

// readLibrary reads everything but the separate debuginfo, and returns what is needed to read that.
func readLibrary(f *elfx.File, name string) (*Library, *tableBuilder, error) {
	arch, err := ArchOf(f.Machine)
	if err != nil {
		return nil, nil, &FormatError{Off: 18, What: "ELF header: machine", Err: err}
	}
	l := &Library{Name: name, Arch: arch, Complete: true, symbols: new(symbols)}
	id, err := f.BuildID()
	if err != nil {
		return nil, nil, err
	}
	l.BuildID = bytes.Clone(id)
	b := &tableBuilder{f: f}
	if b.dynamic, err = f.Dynamic(); err != nil {
		return nil, nil, err
	}
	l.Needed = b.dynamic.Strings(elf.DT_NEEDED)
	if sonames := b.dynamic.Strings(elf.DT_SONAME); len(sonames) > 0 {
		l.SONAME = sonames[0]
	}
	memory, err := f.Memory()
	if err != nil {
		return nil, nil, err
	}
	detours, ok, err := findDetours(f, memory, arch)
	if err != nil {
		return nil, nil, err
	}
	l.Livepatchable, l.Landings, b.facts = ok, arch == X86_64, newFacts(memory.Layout, detours)
	if err := l.addTables(b); err != nil {
		return nil, nil, err
	}
	return l, b, nil
}

// addTables adds .dynsym and .symtab.
func (l *Library) addTables(b *tableBuilder) error {
	dynsym, err := b.dynsym()
	if err != nil {
		return err
	}
	symtab, err := b.symtab()
	if err != nil {
		return err
	}
	l.symbols.tables = []table{dynsym, symtab}
	l.Needs = dynsym.needs(b.versions)
	return nil
}

var errNotDebuginfo = errors.New("no .symtab: not a debuginfo file, or one without symbols")

// addDebuginfo adds the symbols of a separate debuginfo file. Its other sections are empty shells
// (SHT_NOBITS) of those of the library, so that all that is said about addresses comes from the
// library's own file.
func (l *Library) addDebuginfo(b *tableBuilder, debug openELF) error {
	f, err := debug()
	if err != nil {
		return err
	}
	id, err := f.BuildID()
	if err != nil {
		return err
	}
	if len(id) == 0 || !bytes.Equal(id, l.BuildID) {
		return &BuildIDError{Library: l.BuildID, Debuginfo: bytes.Clone(id)}
	}
	b.f = f
	t, err := b.symtab()
	if err != nil {
		return err
	}
	if t.file == nil {
		return &FormatError{Off: int64(f.Shoff), What: "debuginfo", Err: errNotDebuginfo}
	}
	l.symbols.tables = append(l.symbols.tables, t)
	return nil
}

// tableBuilder makes our tables of the file's.
type tableBuilder struct {
	f        *elfx.File // whose tables are read: the library, then its debuginfo
	facts    *facts     // of the library
	dynamic  *elfx.Dynamic
	versions *elfx.Versions
}

// dynsym makes the table of .dynsym.
func (b *tableBuilder) dynsym() (table, error) {
	raw, err := b.f.SymbolTable(elf.SHT_DYNSYM)
	if err != nil || raw == nil {
		return table{}, err
	}
	if b.versions, err = b.f.Versions(raw.Strings); err != nil {
		return table{}, err
	}
	t, err := b.build(raw)
	if err != nil {
		return table{}, err
	}
	t.versions, t.file.versions, t.file.flags = b.versions.Sorted, b.versions, flagDynamic
	return t, nil
}

// symtab makes the table of .symtab, without rows if there is none.
func (b *tableBuilder) symtab() (table, error) {
	raw, err := b.f.SymbolTable(elf.SHT_SYMTAB)
	if err != nil || raw == nil {
		return table{}, err
	}
	return b.build(raw)
}

// nameFactor bounds the sum of the lengths of all names, as a multiple of the file. Names may share
// their ends, so that it can be more than 1, but without a bound it could be the square.
const nameFactor = 16

// build makes a table whose rows are not looked at yet, but for what would make them wrong.
func (b *tableBuilder) build(raw *elfx.SymbolTable) (table, error) {
	t := table{strs: string(raw.Strings), file: &fileTable{rows: raw.Rows(), facts: b.facts}}
	left := nameFactor * b.f.Size()
	if longest := longestName(raw.Strings); raw.Named <= left/longest {
		return t, nil
	}
	for i := raw.Len() - 1; i > 0; i-- {
		if left -= len(t.cut(raw.NameOff(i))); left < 0 {
			return table{}, &FormatError{Off: raw.Off(i), What: "names of the symbol table",
				Err: errors.New("together they are too long")}
		}
	}
	return t, nil
}

// longestName returns a length that no name has more of. It takes few looks at the strings: mostly
// each stretch has a NUL.
func longestName(strs []byte) int {
	const stretch = 256
	for rest := strs; len(rest) >= stretch; rest = rest[stretch:] {
		if bytes.IndexByte(rest[:stretch], 0) < 0 {
			return len(strs)
		}
	}
	return 2 * stretch
}

// needs returns the versions that are needed of other files.
func (t *table) needs(versions *elfx.Versions) []Need {
	if versions == nil || len(versions.List) == 0 {
		return nil
	}
	list := make([]Need, 0, len(versions.List))
	for _, v := range versions.List {
		if v.FileOff != elfx.NoString {
			list = append(list, Need{File: t.cut(v.FileOff), Version: t.cut(v.NameOff)})
		}
	}
	return list
}
