package ulp

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// AddressOf begins the name of what is not called, but whose address is taken: the rest is the
// name.
const AddressOf = "&"

// SectionUser begins the name of a user that is no function: the rest is that of its section.
const SectionUser = "section "

// UsesOf returns what the functions of a relocatable file use, by their names: functions, and names
// that are defined elsewhere. [AddressOf] is before a name that no call or jump leads to. A
// variable is used as its section is, and so is what that leads to. It follows relocations and
// decodes no more than the instruction at one, so each function and variable needs a section of its
// own (-ffunction-sections -fdata-sections). Debugging and unwind information uses nothing.
func UsesOf(image []byte) (uses map[string][]string, err error) {
	defer func() { // the file may be anybody's
		if r := recover(); r != nil {
			uses, err = nil, &symtab.FormatError{What: "relocatable file", Err: fmt.Errorf("%v", r)}
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, &symtab.FormatError{What: "relocatable file", Err: err}
	}
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, &symtab.FormatError{What: "symbol table", Err: err}
	}
	owners := owners(f, symbols)
	uses = map[string][]string{}
	for _, s := range f.Sections {
		size, at := 0, 8 // of a row, and where its symbol is
		switch s.Type {
		case elf.SHT_RELA:
			size = 24
		case elf.SHT_REL:
			size = 16
		}
		if size == 0 || s.Info == 0 || int(s.Info) >= len(owners) ||
			isDebug(f.Sections[s.Info].Name) {
			continue
		}
		rows, err := s.Data()
		if err != nil {
			return nil, &symtab.FormatError{Off: int64(s.Offset), What: s.Name, Err: err}
		}
		code, err := code(f.Sections[s.Info])
		if err != nil {
			return nil, err
		}
		for ; len(rows) >= size; rows = rows[size:] {
			info := binary.LittleEndian.Uint64(rows[at:])
			i := int(info >> 32)
			if i == 0 || i > len(symbols) {
				continue
			}
			call := isCall(f.Machine, uint32(info), code, binary.LittleEndian.Uint64(rows))
			for _, from := range owners[s.Info] {
				uses[from] = append(uses[from], usedBy(&symbols[i-1], owners, call)...)
			}
		}
	}
	return uses, nil
}

// owners returns the functions in each section, or the section itself if it has none.
func owners(f *elf.File, symbols []elf.Symbol) [][]string {
	list := make([][]string, len(f.Sections))
	for _, s := range symbols {
		if i := int(s.Section); i > 0 && i < len(list) && s.Name != "" &&
			elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			list[i] = append(list[i], s.Name)
		}
	}
	for i, s := range f.Sections {
		if list[i] == nil {
			list[i] = []string{SectionUser + s.Name}
		}
	}
	return list
}

// code returns the bytes of a section with code; nil for any other.
func code(s *elf.Section) ([]byte, error) {
	if s.Flags&elf.SHF_EXECINSTR == 0 || s.Type != elf.SHT_PROGBITS {
		return nil, nil
	}
	data, err := s.Data()
	if err != nil {
		return nil, &symtab.FormatError{Off: int64(s.Offset), What: s.Name, Err: err}
	}
	return data, nil
}

// isCall reports whether a relocation at a place in code is that of a call or a jump. Where that is
// not known, it is.
func isCall(machine elf.Machine, kind uint32, code []byte, at uint64) bool {
	if code == nil {
		return false // the address is in a variable
	}
	before := func(n uint64) []byte { // the bytes of the instruction before its operand
		if at < n || at > uint64(len(code)) {
			return make([]byte, n)
		}
		return code[at-n : at]
	}
	switch machine {
	case elf.EM_X86_64:
		switch op := before(2); elf.R_X86_64(kind) {
		case elf.R_X86_64_PLT32:
			return true
		case elf.R_X86_64_PC32:
			// call, jmp, jcc
			return op[1] == 0xe8 || op[1] == 0xe9 || op[0] == 0x0f && op[1]&0xf0 == 0x80
		case elf.R_X86_64_GOTPCREL, elf.R_X86_64_GOTPCRELX:
			return op[0] == 0xff && (op[1] == 0x15 || op[1] == 0x25) // call, jmp through the GOT
		case elf.R_X86_64_REX_GOTPCRELX, elf.R_X86_64_64:
			return false
		}
	case elf.EM_PPC64:
		switch elf.R_PPC64(kind) {
		case elf.R_PPC64_ADDR64, elf.R_PPC64_TOC16_HA, elf.R_PPC64_TOC16_LO,
			elf.R_PPC64_TOC16_LO_DS,
			elf.R_PPC64_GOT16_HA, elf.R_PPC64_GOT16_LO_DS:
			return false
		}
	}
	return true
}

// usedBy returns what a relocation against a symbol uses.
func usedBy(s *elf.Symbol, owners [][]string, call bool) []string {
	i := int(s.Section)
	switch {
	case i > 0 && i < len(owners) && elf.ST_TYPE(s.Info) != elf.STT_FUNC:
		// a section, or a variable in one
		if call || strings.HasPrefix(owners[i][0], SectionUser) {
			return owners[i]
		}
		var addresses []string
		for _, name := range owners[i] {
			addresses = append(addresses, AddressOf+name)
		}
		return addresses
	case call:
		return []string{s.Name}
	}
	return []string{AddressOf + s.Name} // elsewhere, or a function
}

func isDebug(section string) bool {
	return strings.HasPrefix(section, ".debug") || section == ".eh_frame"
}
