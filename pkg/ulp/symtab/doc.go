// Package symtab reads the facts about a library that live patches depend on: its symbols, build-id
// and architecture, which functions can have a detour, and why others cannot.
//
// A [Library] is read from the ELF file, with or without its separate debuginfo ([OpenLibrary],
// [ParseLibrary]), or from the catalogue that was made of these ([ParseCatalogue]): the JSON of
// `ulp extract`, with more keys. A catalogue written by another tool or by an older version lacks
// some facts; a query about these is answered with "not known", never with "no".
//
// Nothing here knows the live patch itself (package ulp) or a running process (package process).
package symtab
