package ulp

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// SectionUser begins the name of a user that is no function: the rest is that of its section.
const SectionUser = "section "

// UsesOf returns what the functions of a relocatable file use, by their names: functions, and names that are defined elsewhere.
// A variable is used as its section is, and so is what that leads to. It follows relocations and decodes no code, so each
// function and variable needs a section of its own (-ffunction-sections -fdata-sections). Debugging and unwind information
// uses nothing.
func UsesOf(image []byte) (uses map[string][]string, err error) {
	defer func() { // the file may be anybody's
		if r := recover(); r != nil {
			uses, err = nil, &FormatError{What: "relocatable file", Err: fmt.Errorf("%v", r)}
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, &FormatError{What: "relocatable file", Err: err}
	}
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, &FormatError{What: "symbol table", Err: err}
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
		if size == 0 || s.Info == 0 || int(s.Info) >= len(owners) || isDebug(f.Sections[s.Info].Name) {
			continue
		}
		rows, err := s.Data()
		if err != nil {
			return nil, &FormatError{Off: int64(s.Offset), What: s.Name, Err: err}
		}
		for ; len(rows) >= size; rows = rows[size:] {
			i := int(binary.LittleEndian.Uint64(rows[at:]) >> 32)
			if i == 0 || i > len(symbols) {
				continue
			}
			for _, from := range owners[s.Info] {
				uses[from] = append(uses[from], usedBy(&symbols[i-1], owners)...)
			}
		}
	}
	return uses, nil
}

// owners returns the functions in each section, or the section itself if it has none.
func owners(f *elf.File, symbols []elf.Symbol) [][]string {
	list := make([][]string, len(f.Sections))
	for _, s := range symbols {
		if i := int(s.Section); i > 0 && i < len(list) && s.Name != "" && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
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

// usedBy returns what a relocation against a symbol uses.
func usedBy(s *elf.Symbol, owners [][]string) []string {
	i := int(s.Section)
	if i == 0 || i >= len(owners) || elf.ST_TYPE(s.Info) == elf.STT_FUNC { // elsewhere, or a function
		return []string{s.Name}
	}
	return owners[i] // a section, or a variable in one
}

func isDebug(section string) bool {
	return strings.HasPrefix(section, ".debug") || section == ".eh_frame"
}
