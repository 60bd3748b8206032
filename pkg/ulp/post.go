package ulp

import (
	"bytes"
	"debug/elf"
	"fmt"

	"github.com/lpbuild/lpbuild/internal/elfx"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// MergeResult says what [MergeNOPs] found at the functions that a library lists as patchable.
type MergeResult struct {
	Image   []byte // the library; as long as before, and equal to it if Merged is 0
	Merged  int    // functions whose two NOPs became one
	Already int    // functions that had one NOP of two bytes before
	// Others are listed, but stay as they are: no symbol is where the function should begin, or
	// there are no NOPs. They are functions with an attribute of their own for the number of NOPs,
	// and in stripped libraries those that are not exported.
	Others int
}

// MergeNOPs makes one NOP of two bytes (66 90) of the two NOPs (90 90) at the entry of each
// patchable function of an x86_64 library, so that no thread can ever stand between them when a
// jump is written there. What `ulp post` does, and the same bytes. On other architectures all
// instructions have one size, and there is nothing to do.
//
// A function counts if its place is in __patchable_function_entries, 14 bytes before a symbol of
// .symtab, or of .dynsym if the library is stripped, and if what stands at the symbol, after
// endbr64 where there is one, are these NOPs. Nothing else is touched.
//
// The image itself is not changed. The error is that of [symtab.ParseLibrary], or wraps
// [ErrNotPatchable] if the library has no such list.
func MergeNOPs(image []byte) (*MergeResult, error) {
	f, err := elfx.Parse(bytes.Clone(image))
	if err != nil {
		return nil, symtab.AsFormatError(err)
	}
	arch, err := symtab.ArchOf(f.Machine)
	if err != nil {
		return nil, &symtab.FormatError{Off: 18, What: "ELF header: machine", Err: err}
	}
	memory, err := f.Memory()
	if err != nil {
		return nil, symtab.AsFormatError(err)
	}
	entries, ok, err := f.PatchableEntries()
	switch {
	case err != nil:
		return nil, symtab.AsFormatError(err)
	case !ok:
		return nil, fmt.Errorf("%w: no section %s", ErrNotPatchable, elfx.EntriesSection)
	}
	m := &MergeResult{Image: f.Image}
	if arch != symtab.X86_64 {
		return m, nil
	}
	defined, err := definedAt(f)
	if err != nil {
		return nil, symtab.AsFormatError(err)
	}
	for _, entry := range entries {
		if address := entry + symtab.X86NOPsBefore; defined[address] {
			m.merge(memory.Code(address))
		} else {
			m.Others++
		}
	}
	return m, nil
}

// merge changes the code of one function. It is a part of the copy that will be the result.
func (m *MergeResult) merge(code []byte) {
	code = bytes.TrimPrefix(code, symtab.ENDBR64)
	switch {
	case bytes.HasPrefix(code, []byte{0x90, 0x90}):
		code[0] = 0x66
		m.Merged++
	case bytes.HasPrefix(code, []byte{0x66, 0x90}):
		m.Already++
	default:
		m.Others++
	}
}

// definedAt returns the addresses at which .symtab, or if there is none .dynsym, has a symbol.
func definedAt(f *elfx.File) (map[uint64]bool, error) {
	rows, err := f.SymbolTable(elf.SHT_SYMTAB)
	if err == nil && rows == nil {
		rows, err = f.SymbolTable(elf.SHT_DYNSYM)
	}
	if err != nil || rows == nil {
		return nil, err
	}
	defined := make(map[uint64]bool)
	for i := range rows.Len() {
		s := rows.Row(i)
		// Values of other kinds are no addresses.
		if s.Shndx != elf.SHN_UNDEF && s.Shndx < elf.SHN_LORESERVE &&
			elf.ST_TYPE(s.Info) != elf.STT_TLS {
			defined[s.Value] = true
		}
	}
	return defined, nil
}
