package symtab

import (
	"debug/elf"
	"slices"
	"strings"
)

// Definitions returns the definitions that the name stands for: the global ones, or if there are
// none, the local ones. A name may have a symbol version. There is more than one if the symbol is
// in .dynsym as well as in .symtab, or if it is ambiguous; the first is the one that libpulp's
// packer takes.
func Definitions(l *Library, name string) []Symbol {
	var globals, locals []Symbol
	for _, s := range l.Versions(name) {
		switch {
		case s.Undefined || !l.Complete && s.Value == 0 && s.Type() != elf.STT_TLS:
		case s.Bind() == elf.STB_LOCAL:
			locals = append(locals, s)
		default:
			globals = append(globals, s)
		}
	}
	if len(globals) > 0 {
		return globals
	}
	return locals
}

// Function returns the symbol of a function as ulp.Check and ulp.Pack take it. ok is false if they
// would refuse the name.
func (l *Library) Function(name string) (s Symbol, ok bool) {
	rows := Definitions(l, name)
	if len(rows) == 0 || rows[0].Type() != elf.STT_FUNC || IsAmbiguous(rows) {
		return Symbol{}, false
	}
	return rows[0], true
}

// IsAmbiguous reports whether the rows are of different things. Versions of a symbol are: whatever
// was linked with an old one still uses it.
func IsAmbiguous(rows []Symbol) bool {
	return slices.ContainsFunc(rows, func(s Symbol) bool { return s.Value != rows[0].Value })
}

// IsFunction reports whether s is the definition of a function that is not indirect.
func IsFunction(s Symbol) bool { return s.Type() == elf.STT_FUNC && !s.Undefined }

// IsExportedFunction reports whether s is such a function in .dynsym.
func IsExportedFunction(s Symbol) bool { return IsFunction(s) && s.Dynamic }

// IsVariable reports whether s is the definition of a variable that is not thread-local.
func IsVariable(s Symbol) bool { return s.Type() == elf.STT_OBJECT && !s.Undefined }

// IsTLSVariable reports whether s is the definition of a thread-local variable.
func IsTLSVariable(s Symbol) bool { return s.Type() == elf.STT_TLS && !s.Undefined }

// KindOf names the symbol's type as a person would.
func KindOf(s Symbol) string {
	switch s.Type() {
	case elf.STT_FUNC:
		return "a function"
	case elf.STT_GNU_IFUNC:
		return "an indirect function"
	case elf.STT_OBJECT, elf.STT_COMMON:
		return "a variable"
	case elf.STT_TLS:
		return "a thread-local variable"
	}
	return "a symbol without a type"
}

// NamesPrivate reports whether the library's symbols have those that it does not export: it was not
// stripped, or read with its debuginfo.
func (l *Library) NamesPrivate() bool {
	for s := range l.Symbols() {
		if s.Bind() == elf.STB_LOCAL && (IsVariable(s) || s.Type() == elf.STT_FUNC) {
			return true
		}
	}
	return false
}

// IsClone tells whether a function is what the compiler or linker made of another: a part (f.cold,
// f.part.0) or a copy with other parameters (f.constprop.0, f.isra.0), which the same replacement
// does not fit, or a name with a version: the row of .dynsym stands for it.
func IsClone(name string) bool { return strings.ContainsAny(name, ".@") }

// IsIFUNC tells whether the symbol is an indirect function: its address is that of code that
// returns the function.
func IsIFUNC(s Symbol) bool { return s.Type() == elf.STT_GNU_IFUNC }
