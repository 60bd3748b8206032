package ulp

import (
	"bytes"
	"debug/elf"
	"errors"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp/internal/elfx"
)

// ParseLibrary reads a library from the bytes of its ELF file and, unless debug is nil, adds the symbols of its separate
// debuginfo file. name becomes Library.Name.
//
// An error is a *[FormatError] that may wrap [ErrUnsupported], or a *[BuildIDError] if debug belongs to another library.
func ParseLibrary(elfImage, debug []byte, name string) (*Library, error) {
	f, err := elfx.Parse(elfImage)
	if err != nil {
		return nil, formatError(err)
	}
	l, b, err := readLibrary(f, name)
	if err != nil {
		return nil, formatError(err)
	}
	if debug != nil {
		if err := l.addDebuginfo(b, debug); err != nil {
			return nil, formatError(err)
		}
	}
	return l, nil
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
	if b.memory, err = f.Memory(); err != nil {
		return nil, nil, err
	}
	if b.detours, l.Livepatchable, err = findDetours(f, b.memory, arch); err != nil {
		return nil, nil, err
	}
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

// addDebuginfo adds the symbols of a separate debuginfo file. Its other sections are empty shells (SHT_NOBITS) of those of
// the library, so that all that is said about addresses comes from the library's own file.
func (l *Library) addDebuginfo(b *tableBuilder, debug []byte) error {
	f, err := elfx.Parse(debug)
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
	if t.rows == nil {
		return &FormatError{Off: int64(f.Shoff), What: "debuginfo", Err: errNotDebuginfo}
	}
	l.symbols.tables = append(l.symbols.tables, t)
	return nil
}

// tableBuilder makes our tables of the file's.
type tableBuilder struct {
	f        *elfx.File   // whose tables are read: the library, then its debuginfo
	memory   *elfx.Memory // the library's
	detours  detours      // the library's
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
	t, err := b.build(raw, flagDynamic)
	if err != nil {
		return table{}, err
	}
	t.versions = b.versions.Sorted
	return t, nil
}

// symtab makes the table of .symtab, without rows if there is none.
func (b *tableBuilder) symtab() (table, error) {
	raw, err := b.f.SymbolTable(elf.SHT_SYMTAB)
	if err != nil || raw == nil {
		return table{}, err
	}
	return b.build(raw, 0)
}

// nameFactor bounds the sum of the lengths of all names, as a multiple of the file. Names may share their ends, so that it
// can be more than 1, but without a bound it could be the square.
const nameFactor = 16

// build converts the named rows, the last one first.
func (b *tableBuilder) build(raw *elfx.SymbolTable, flags flag) (table, error) {
	t := table{rows: make([]row, 0, raw.Len()), strs: string(raw.Strings)}
	left := nameFactor * len(b.f.Image)
	for i := raw.Len() - 1; i > 0; i-- {
		s := raw.Row(i)
		length := strings.IndexByte(t.strs[s.NameOff:], 0)
		if length <= 0 {
			continue
		}
		if left -= length; left < 0 {
			return table{}, &FormatError{Off: raw.Off(i), What: "names of the symbol table", Err: errors.New("together they are too long")}
		}
		r := row{
			value: s.Value, size: s.Size, info: s.Info, other: s.Other,
			name: s.NameOff, length: uint32(length), flags: flags | b.flags(s),
		}
		if flags&flagDynamic != 0 {
			b.addVersion(&t, &r, i)
		}
		t.rows = append(t.rows, r)
	}
	return t, nil
}

// flags returns what is known of a symbol by its address.
func (b *tableBuilder) flags(s elfx.Symbol) flag {
	switch s.Shndx {
	case elf.SHN_UNDEF:
		return flagUndefined
	case elf.SHN_ABS:
		return 0
	}
	switch elf.ST_TYPE(s.Info) {
	case elf.STT_TLS: // the value is no address; each thread's copy is writable
		return flagWritable
	case elf.STT_FUNC:
		if b.detours.at(s.Value) {
			return flagPatchable
		}
		return 0
	}
	if b.memory.Writable(s.Value) {
		return flagWritable
	}
	return 0
}

// addVersion notes the version of .dynsym's row i. That of an undefined symbol is never the default: it is exactly what
// is needed. A version without a name is none.
func (b *tableBuilder) addVersion(t *table, r *row, i int) {
	v, isDefault, ok := b.versions.Of(i)
	if !ok || t.cut(v.NameOff) == "" {
		return
	}
	r.version = v.Index
	if isDefault && r.flags&flagUndefined == 0 {
		r.flags |= flagDefault
	}
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
