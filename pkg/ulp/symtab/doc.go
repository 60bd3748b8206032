// Package symtab knows what a live patch must know of a library: its symbols, build-id and
// architecture, which entries can have a detour, and which functions stand in its way.
//
// A [Library] is read from the ELF file, with or without its separate debuginfo ([OpenLibrary],
// [ParseLibrary]), or from the catalogue that was made of these ([ParseCatalogue]): the JSON of
// `ulp extract`, with more keys. A catalogue written by another tool or by an older version lacks
// some facts. A question about these has an answer of its own, "not known", and never "no".
//
// Nothing here knows the live patch itself (package ulp) or a running process (package process).
package symtab
