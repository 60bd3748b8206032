// Package rtld reads the state of the dynamic loader (ld.so) in a process: the ELF images that are
// loaded, their symbols and symbol versions, and what the loader has bound.
//
//	Mapping ─ FindLibraries ─► Library ─ OpenSymbols ─► Symbols ─ Lookup, Bind ─► Symbol
//	                              └─ NewLinkMaps ─► LinkMaps ─ Namespaces ─► Namespace ─► LinkMap
//	                                                   ├─ Scope ─ Lookup, Address, TLSValue
//	                                                   └─ Implementation, Variable, TLSModule
//
// # What is read, and from where
//
// Everything comes from memory, as the loader sees it, and nothing from a file that a process
// names. Images, PT_DYNAMIC, hash tables, symbols and versions are those of elf(5) and the gABI.
// Loaded objects are listed by struct r_debug and its lists of struct link_map (link.h): one list,
// a namespace, for the program, and with glibc 2.35 or later one for each call of dlmopen. A
// [Scope] is the order in which ld.so looks up the symbols of an object that dlopen loads. The
// implementation of an indirect function (IFUNC) is read from the slots that the loader filled;
// resolvers are never run. TLS modules and static TLS offsets are in private fields of glibc's
// struct link_map; glibc tells debuggers their offsets by symbols named _thread_db_link_map_*.
//
// # What it never does
//
// The package is read only: it never stops, attaches to or writes to a process. It lies below
// package process, and sees a process through interfaces of its own: [Reader] and [Source] are
// memory, [Process] adds mappings and libraries.
//
// Memory is untrusted. Every address is checked against the segments of its library, every
// length and every loop is bounded.
//
// # Unknown
//
// Unknown is an error, and never "none". [ErrMalformed], [ErrUnreadable] and [ErrLimit] mean that a
// table could not be understood, [ErrLoading] that the loader is changing it. [ErrUnlisted] means
// that the loader does not list a library, so that the scope of its symbols is not known.
// [ErrUnresolved] means that it is not known what a reference is bound to: nothing in the process
// is bound to an indirect function yet, or there are several answers. [ulp.ErrNoSymbol] is the only
// "none": the table was understood, and has no such symbol.
package rtld
