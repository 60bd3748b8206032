package native

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Patch is a container made ready to be loaded into processes. It is never changed once a plan has
// been made with it, and may be used by several goroutines at once.
type Patch struct {
	Name string // of the container's file, without directories
	// File is the container's file. Processes that may not execute other memory map it; without it
	// they are refused.
	File *File
	Meta *ulp.Metadata
	// Comments are those of the description.
	Comments string
	// Entries reports whether it was made for functions without NOPs, too.
	Entries symtab.Entries
	// Unwinding reports whether exceptions or cancellation may pass through the replacements.
	Unwinding ulp.Unwinding

	proven       *ulp.Proven
	im           *image
	relocations  []relocation
	symbols      []symbol // rows of .dynsym
	replacements []uint64 // addresses in the image, in the order of Meta.Functions
	pointers     []uint64 // the same of Meta.References
}

// symbol is a row of the container's .dynsym.
type symbol struct {
	name, version string
	defined, weak bool
	absolute      bool // it is defined as a value that is no address
	kind          elf.SymType
	value         uint64
}

// maxComments and maxName bound what goes into a record.
const (
	maxComments = 64 << 10
	maxName     = 255
)

// NewPatch prepares a packed container; name is that of its file. The error wraps ErrContainer with
// every reason why this engine cannot load it, or is that of [ulp.Container.LivePatch].
func NewPatch(c *ulp.Container, name string) (*Patch, error) {
	lp, err := c.LivePatch()
	if err != nil {
		return nil, err
	}
	p, err := prepare(c, lp.Unwinding)
	if err != nil {
		return nil, err
	}
	p.Name, p.Meta, p.Comments, p.Entries, p.Unwinding = name, lp.Metadata, lp.Comments, lp.Entries,
		lp.Unwinding
	p.proven = lp.Proven
	if len(name) > maxName || len(p.Comments) > maxComments || len(p.Meta.Functions) > maxSlots {
		return nil, fmt.Errorf("%w: name, comments or number of functions: %w", ErrContainer,
			ErrLimit)
	}
	for _, f := range p.Meta.Functions {
		if len(f.Old) > maxName || len(f.New) > maxName {
			return nil, fmt.Errorf("%w: the name of a function: %w", ErrContainer, ErrLimit)
		}
		s, ok := c.Lookup(f.New)
		if !ok || !p.im.code(s.Value, 1) {
			return nil, fmt.Errorf("%w: it has no function %q", ErrContainer, f.New)
		}
		p.replacements = append(p.replacements, s.Value)
	}
	for _, r := range p.Meta.References {
		at := r.PatchOffset
		if s, ok := c.Lookup(r.Reference); at == 0 && ok {
			at = s.Value
		}
		size := uint64(8)
		if r.TLS {
			size = 16
		}
		if at == 0 || p.im.bytes(at, size) == nil || p.im.code(at, size) {
			return nil, fmt.Errorf("%w: it has no pointer %q", ErrContainer, r.Reference)
		}
		p.pointers = append(p.pointers, at)
	}
	return p, nil
}

// prepare reads a container, packed or not. The error has every reason why this engine cannot load
// it; each wraps ErrContainer. nil: it can, in any process whose libraries have what the container
// needs.
func prepare(c *ulp.Container, unwinding ulp.Unwinding) (*Patch, error) {
	if c.Arch != symtab.X86_64 {
		return nil, fmt.Errorf("%w: containers for %s: %w", ErrContainer, c.Arch,
			symtab.ErrUnsupported)
	}
	f, err := elfx.Parse(c.Image())
	if err != nil {
		return nil, err
	}
	p := &Patch{}
	if p.im, err = readImage(f); err != nil {
		return nil, err
	}
	d, err := f.Dynamic()
	if err != nil {
		return nil, err
	}
	var errs []error
	if c.TLS {
		errs = append(errs, errOwnTLS)
	}
	if c.TextRelocations {
		errs = append(errs, &ContainerError{"text-relocations", "it has relocations of its code",
			"compile with -fPIC"})
	}
	errs = append(errs, checkConstructors(d, p.im)...)
	if p.symbols, err = readSymbols(f); err != nil {
		return nil, err
	}
	errs = append(errs, checkSymbols(p.symbols)...)
	needsUnwinder, err := checkUnwinding(f, p.im, p.symbols, unwinding)
	if err != nil {
		return nil, err
	}
	errs = append(errs, needsUnwinder...)
	p.relocations, err = readRelocations(p.im, d, len(p.symbols))
	return p, errors.Join(append(errs, err)...)
}

func readSymbols(f *elfx.File) ([]symbol, error) {
	table, err := f.SymbolTable(elf.SHT_DYNSYM)
	if err != nil || table == nil {
		return nil, err
	}
	versions, err := f.Versions(table.Strings)
	if err != nil {
		return nil, err
	}
	list := make([]symbol, table.Len())
	for i := 1; i < table.Len(); i++ {
		r := table.Row(i)
		s := symbol{name: text(table.Strings, r.NameOff), defined: r.Shndx != elf.SHN_UNDEF,
			absolute: r.Shndx == elf.SHN_ABS, kind: elf.ST_TYPE(r.Info),
			weak: elf.ST_BIND(r.Info) == elf.STB_WEAK, value: r.Value}
		if v, _, ok := versions.Of(i); ok && !s.defined {
			s.version = text(table.Strings, v.NameOff)
		}
		list[i] = s
	}
	return list, nil
}

func text(strings []byte, off uint32) string {
	if uint64(off) >= uint64(len(strings)) {
		return ""
	}
	s, _, _ := bytes.Cut(strings[off:], []byte{0})
	return string(s)
}

// checkSymbols refuses what would have to be resolved by code of the container.
func checkSymbols(symbols []symbol) []error {
	var errs []error
	for _, s := range symbols {
		if s.defined && s.kind == elf.STT_GNU_IFUNC {
			errs = append(errs, errOwnIFUNC)
		}
	}
	return errs
}
