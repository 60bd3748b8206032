// Package rpmver orders RPM versions and reads ranges of them.
//
// [Compare] gives, for any two strings, what rpmvercmp of RPM 4.18 gives, "~" and "^" included; [EVR.Compare] is RPM's
// order of packages, and [Range.Contains] its rule for versioned dependencies. Nothing here knows packages' names,
// architectures or rich dependencies.
package rpmver
