// Package compile compiles the sources of a live patch: once, or once for each group of builds that
// gets the same code.
//
//	Find ─► Compiler ─┐
//	Open ─► Objects ──┴─ ForBuild ─► Object ─ Calls ─► CallGraph, Choosers
//
// An [Object] is a shared object that has not been packed for a build yet. It is kept under its
// digest below the build directory, with a manifest of everything that the compiler read: files,
// headers that would have been found first had they existed, and the programs that the compiler
// starts. A later run that finds all of this unchanged starts no compiler.
//
// Nothing of the machine gets into the code: compilers run in the package directory, with a fixed
// time and locale and without the environment that tells them where to look, and a file from
// outside the package and the compiler's own directories is an [InputError].
package compile
