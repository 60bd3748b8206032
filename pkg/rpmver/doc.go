// Package rpmver orders RPM versions and parses ranges of them.
//
// [Compare] returns, for any two strings, the result of rpmvercmp of RPM 4.18, including "~" and
// "^"; [EVR.Compare] is RPM's order of packages, and [Range.Contains] its rule for versioned
// dependencies. This package does not know package names, architectures or rich dependencies.
package rpmver
