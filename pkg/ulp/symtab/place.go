package symtab

import (
	"debug/elf"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A name may begin with the place of a static function or variable, of which there may be several:
// "malloc.c/arena_get" for the one of that source file, "0x8b2c0/arena_get" for the one at that
// address, which holds for one build. No compiler makes names with a slash, nor do symbol versions
// have one.

// SplitPlace splits a name at its place. Without one, place is "".
func SplitPlace(name string) (place, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 1 || i+1 == len(name) {
		return "", name
	}
	return name[:i], name[i+1:]
}

// LocalSymbol is a symbol that only its own source file sees.
type LocalSymbol struct {
	Symbol
	File string // as the symbol table has it; "" if it does not tell
}

// Locals returns the local symbols whose names want accepts. A table has the files between the
// symbols: each before its own, which is after them in the order of [Library.Symbols].
func (l *Library) Locals(want func(name string) bool) []LocalSymbol {
	var list []LocalSymbol
	var last *table
	known := 0
	for t, r := range l.symbols.each() {
		if t != last {
			last, known = t, len(list)
		}
		switch {
		case elf.ST_BIND(r.info) != elf.STB_LOCAL:
		case elf.ST_TYPE(r.info) == elf.STT_FILE:
			for ; known < len(list); known++ {
				list[known].File = t.name(r)
			}
		case want(t.name(r)):
			list = append(list, LocalSymbol{Symbol: t.symbol(r)})
		}
	}
	return list
}

// placed returns the symbols of a name that are at a place.
func (l *Library) placed(place, name string) []Symbol {
	if digits, ok := strings.CutPrefix(place, "0x"); ok {
		address, err := strconv.ParseUint(digits, 16, 64)
		return slices.DeleteFunc(l.Versions(name), func(s Symbol) bool {
			return err != nil || s.Value != address
		})
	}
	var rows []Symbol
	for _, s := range l.Locals(func(n string) bool { return n == name }) {
		if s.File == place || strings.HasSuffix(s.File, "/"+place) {
			rows = append(rows, s.Symbol)
		}
	}
	return rows
}

// ChoosePlace returns a hint that chooses one of several static symbols of a name; line makes the
// line of a description for a name.
func (l *Library) ChoosePlace(name string, line func(name string) string) string {
	_, base := SplitPlace(name)
	locals := l.Locals(func(n string) bool { return n == base })
	byFile := map[string]map[uint64]bool{}
	var addresses, files []string
	for _, s := range locals {
		if s.Undefined || s.Type() == elf.STT_NOTYPE || s.Type() == elf.STT_SECTION {
			continue
		}
		addresses = append(addresses, line(fmt.Sprintf("%#x/%s", s.Value, base)))
		if byFile[s.File] == nil {
			byFile[s.File] = map[uint64]bool{}
			files = append(files, line(s.File+"/"+base))
		}
		byFile[s.File][s.Value] = true
	}
	slices.Sort(addresses)
	if addresses = slices.Compact(addresses); len(addresses) < 2 {
		return ""
	}
	clear := len(byFile) > 1
	for file, at := range byFile {
		clear = clear && len(at) == 1 && file != "" && !strings.ContainsAny(file, ":@ ")
	}
	if !clear {
		return "choose one by its address, for this build only: " + SomeOf(addresses)
	}
	slices.Sort(files)
	return "choose one by its source file: " + SomeOf(files)
}

// SomeOf joins the first of many names.
func SomeOf(names []string) string {
	if len(names) > MaxListed {
		names = append(slices.Clone(names[:MaxListed]), "...")
	}
	return strings.Join(names, ", ")
}

// MaxListed is how many names a hint lists at most.
const MaxListed = 10
