package symtab

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

// Need is a symbol version that a library requires of another.
type Need struct {
	File    string // SONAME of the library that has to provide it
	Version string // "GLIBC_2.34"
}

// Library is what lpbuild knows of one shared object: enough to pack a live patch for it and to
// gate one against it.
//
// It does not refer to the bytes that it was read from. Its methods may be called by several
// goroutines at once.
type Library struct {
	Name string // base name as patches name it: "libc.so.6"
	// descriptor of the GNU build-id note, 20 bytes as a rule; nil if there is none
	BuildID       []byte
	Arch          Arch     // "" in a catalogue that libpulp wrote
	SONAME        string   // DT_SONAME; "" if there is none
	Needed        []string // DT_NEEDED, in order
	Needs         []Need   // .gnu.version_r, in order
	Livepatchable bool     // has a section __patchable_function_entries
	// Complete is false for a catalogue that libpulp wrote. Then only Name, BuildID and the name,
	// value, size, info and other of the symbols are known; every other field has its zero value
	// and says nothing.
	Complete bool

	// Landings says that Symbol.Landing is known: catalogues of earlier versions do not tell it.
	// x86_64 only.
	Landings bool

	symbols *symbols // never nil
	proofs  proofs   // of entries; nil: not made
	// checksum is that of the file that the proofs are about, by elfx.Checksum; 0: not known, or
	// there are no proofs.
	checksum uint32
	// resolvers are those of the indirect functions, by address; nil: not known.
	resolvers []Resolver
	parts     proofs // why cold parts of functions are not the functions' own; nil: not known
	handlers  proofs // why functions need the unwinder; nil: not known
	callers   proofs // callers that rely on registers which functions leave alone; nil: not known
}

// LibraryOptions are the choices of [OpenLibrary].
type LibraryOptions struct {
	Name string // Library.Name; default: base name of the path, or for a catalogue the name in it
	// path of a separate debuginfo file whose symbols are added; default: none. Not for catalogues
	Debug string
	// Prove makes the proofs of [Library.EntryProof]: all functions without NOPs are decoded, which
	// takes some 30 ms for a libc; and finds the functions of [Library.Handlers]. A catalogue has
	// them or has not.
	Prove bool
	// Callers finds the functions of [Library.ReliedOn] if the library is livepatchable. Prove does
	// so for any library.
	Callers bool
}

// OpenLibrary reads an ELF file or a catalogue, told apart by content. Errors are those of
// [ParseLibrary] and [ParseCatalogue] with the path in front, and those of reading files.
//
// Of an ELF file only the parts that are needed are read. The file is not needed any more after
// that.
func OpenLibrary(path string, o LibraryOptions) (*Library, error) {
	f, size, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic[:]) != elf.ELFMAG {
		data, release, err := readAll(f, size)
		if err != nil {
			return nil, err
		}
		defer release() // catalogues are not referred to after they were parsed
		return openCatalogue(path, data, o)
	}
	var debug openELF
	if o.Debug != "" {
		d, size, err := openFile(o.Debug)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		debug = func() (*elfx.File, error) { return elfx.Open(d, size) }
	}
	l, err := newLibrary(func() (*elfx.File, error) { return elfx.Open(f, size) }, debug,
		cmp.Or(o.Name, filepath.Base(path)), o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func openCatalogue(path string, data []byte, o LibraryOptions) (*Library, error) {
	if o.Debug != "" {
		return nil, fmt.Errorf("%s: %w: a catalogue has no separate debuginfo; extract it again "+
			"with the debuginfo", path, ErrUnsupported)
	}
	l, err := ParseCatalogue(data)
	if err != nil {
		return nil, fmt.Errorf("%s: neither ELF nor a catalogue: %w", path, err)
	}
	l.Name = cmp.Or(o.Name, l.Name)
	return l, nil
}

// Symbols iterates over all rows that have a name, in the order in which libpulp looks at them: the
// rows of .dynsym, then those of .symtab, then those of the debuginfo's .symtab, each table from
// its last row to its first. With that order the first of several symbols of one name is the one
// that libpulp takes, from an ELF file and from a catalogue alike.
func (l *Library) Symbols() iter.Seq[Symbol] {
	return func(yield func(Symbol) bool) {
		for t, r := range l.symbols.each() {
			if !yield(t.symbol(r)) {
				return
			}
		}
	}
}

// Lookup returns the first defined symbol of that name in the order of [Library.Symbols].
func (l *Library) Lookup(name string) (Symbol, bool) {
	for t, r := range l.symbols.named(name) {
		if r.flags&flagUndefined == 0 {
			return t.symbol(r), true
		}
	}
	return Symbol{}, false
}

// LookupAll returns all symbols of that name, undefined ones too, in the order of
// [Library.Symbols].
func (l *Library) LookupAll(name string) []Symbol {
	var list []Symbol
	for t, r := range l.symbols.named(name) {
		list = append(list, t.symbol(r))
	}
	return list
}

// Len returns how many symbols [Library.Symbols] yields.
func (l *Library) Len() int { return l.symbols.len() }
