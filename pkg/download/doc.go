// Package download brings every released build of a library from signed RPM repositories to the engineer's machine and
// pins what it brought.
//
// The law it keeps: nothing is used that does not follow from a pinned key (key → repomd.xml → primary.xml → RPM digest,
// and the RPM's own signature), nothing is half-written, nothing is fetched twice. What comes out is a [Lock] and a
// catalogue of symbols for each library; both go into the source package, so that a build needs no network.
//
// The parts have packages of their own: pgp checks signatures, rpmmd reads repository metadata, rpmfile reads RPMs, fetch
// gets files from where they are, store keeps them by digest, decompress and digest serve all of these. This package
// puts them in order. It does not know what a live patch is.
package download
