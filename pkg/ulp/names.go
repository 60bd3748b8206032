package ulp

import (
	"debug/elf"
	"slices"
	"strings"
)

// meant returns the definitions that the name stands for: the global ones, or if there are none, the local ones. A name may have
// a symbol version. There is
// more than one if the symbol is in .dynsym as well as in .symtab, or if it is ambiguous; the first is the one that
// libpulp's packer takes.
func meant(l *Library, name string) []Symbol {
	var globals, locals []Symbol
	for _, s := range l.versions(name) {
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

// Function returns the symbol of a function as [Check] and [Pack] take it. ok is false if they would refuse the name.
func (l *Library) Function(name string) (s Symbol, ok bool) {
	rows := meant(l, name)
	if len(rows) == 0 || rows[0].Type() != elf.STT_FUNC || isAmbiguous(rows) {
		return Symbol{}, false
	}
	return rows[0], true
}

// isAmbiguous reports whether the rows are of different things. Versions of a symbol are: whatever was linked with an old one
// still uses it.
func isAmbiguous(rows []Symbol) bool {
	return slices.ContainsFunc(rows, func(s Symbol) bool { return s.Value != rows[0].Value })
}

func isFunction(s Symbol) bool { return s.Type() == elf.STT_FUNC && !s.Undefined }

func isExportedFunction(s Symbol) bool { return isFunction(s) && s.Dynamic }

func isVariable(s Symbol) bool { return s.Type() == elf.STT_OBJECT && !s.Undefined }

func isTLSVariable(s Symbol) bool { return s.Type() == elf.STT_TLS && !s.Undefined }

// kind names the symbol's type as a person would.
func kind(s Symbol) string {
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

// NamesPrivate reports whether the library's symbols have those that it does not export: it was not stripped, or read with its
// debuginfo.
func (l *Library) NamesPrivate() bool {
	for s := range l.Symbols() {
		if s.Bind() == elf.STB_LOCAL && (isVariable(s) || s.Type() == elf.STT_FUNC) {
			return true
		}
	}
	return false
}

// isClone tells whether a function is what the compiler or linker made of another: a part (f.cold, f.part.0) or a copy
// with other parameters (f.constprop.0, f.isra.0), which the same replacement does not fit, or a name with a version: the row of
// .dynsym stands for it.
func isClone(name string) bool { return strings.ContainsAny(name, ".@") }

// isIFUNC tells whether the symbol is an indirect function: its address is that of code that returns the function.
func isIFUNC(s Symbol) bool { return s.Type() == elf.STT_GNU_IFUNC }
