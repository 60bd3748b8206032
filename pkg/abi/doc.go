// Package abi reads what a compiler recorded about a library in DWARF: prototypes, layouts of
// types, the places functions were inlined into, clones, call sites and variables.
//
// The input is untrusted: sizes are bounded, and types may refer to each other in circles.
package abi
