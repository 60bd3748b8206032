package symtab

import "debug/elf"

// Symbol is one row of a library's symbol tables. What is not known of the symbols of an incomplete
// library is described at [Library].Complete.
type Symbol struct {
	Name string
	// address in the file's own address space (0-based for shared objects); for TLS, offset in
	// PT_TLS
	Value     uint64
	Size      uint64 // in bytes
	Info      byte   // st_info
	Other     byte   // st_other
	Version   string // symbol version ("GLIBC_2.2.5"), only for dynamic symbols; "" if none
	Default   bool   // the version is the default one (@@); false for undefined symbols
	Dynamic   bool   // from .dynsym
	Undefined bool   // needed, not provided
	// Patchable says that the symbol is a function whose entry is listed in
	// __patchable_function_entries and has the NOPs that a detour needs.
	Patchable bool
	// Landing says that a patchable function begins with endbr64, which comes before its NOPs: see
	// [Library.Landings].
	Landing bool
	// Writable reports that the symbol is data that can still be written after relocation: it lies
	// in a writable segment that is not RELRO, or is thread-local. It is false for functions.
	Writable bool
}

// Type returns the symbol's type: function, object, thread-local ...
func (s Symbol) Type() elf.SymType { return elf.ST_TYPE(s.Info) }

// Bind returns the symbol's binding: local, global, weak ...
func (s Symbol) Bind() elf.SymBind { return elf.ST_BIND(s.Info) }

// IsIndirect reports whether the symbol is an indirect function (IFUNC): its address is that of
// code that chooses the function.
func (s Symbol) IsIndirect() bool { return s.Type() == elf.STT_GNU_IFUNC }

// IsExported reports whether whatever is loaded beside the library can use the symbol.
func (s Symbol) IsExported() bool { return s.Dynamic && !s.Undefined && s.Bind() != elf.STB_LOCAL }

// IsRequired reports whether the library cannot be loaded unless another one exports the symbol.
func (s Symbol) IsRequired() bool { return s.Dynamic && s.Undefined && s.Bind() != elf.STB_WEAK }
