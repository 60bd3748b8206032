// Package download fetches every released build of a library from signed RPM repositories and pins
// what it fetched.
//
// Three rules hold. Nothing is used unless a pinned key vouches for it (key → repomd.xml →
// primary.xml → RPM digest, and the RPM's own signature); no file is ever left half-written;
// nothing is fetched twice. The results are a [Lock] and a catalogue of symbols for each library.
// Both go into the source package, so that a build needs no network.
//
// The parts have packages of their own: pgp checks signatures, rpmmd reads repository metadata,
// rpmfile reads RPMs, fetch gets files from URLs and paths, store keeps them by digest, and
// decompress and digest serve all of these. This package coordinates them. It does not know what a
// live patch is.
package download
