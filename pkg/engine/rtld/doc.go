// Package rtld reads the state of the dynamic loader (ld.so) in a process: which ELF images are loaded, and their dynamic
// sections, hash tables, symbols and symbol versions.
//
//	Mapping ─ FindLibraries ─► Library ─ OpenSymbols ─► Symbols ─ Lookup, Bind ─► Symbol
//
// Everything is read from memory, as the loader reads it, and nothing from a file that a process names: elf(5) and the gABI
// describe the images, glibc's link.h struct r_debug and struct link_map.
//
// The package is read only. It never stops, attaches to or writes to a process, and it does not know what a process is: it
// sees memory ([Reader], [Source]) and [Mapping] values, which package process has of a process and of a file.
//
// Memory is taken for hostile. Every address is checked against the segments of its library, every length and every loop is
// bounded. Unknown is an error of its own, and never "none": [ErrMalformed], [ErrUnreadable] and [ErrLimit] say that a table
// could not be understood; [ulp.ErrNoSymbol] says that it was, and has no such symbol.
package rtld
