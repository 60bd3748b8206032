// Package glibctest has a real GNU C Library for live patching: Debian's source package, compiled once with
// -fpatchable-function-entry, linked several times with other addresses and build-ids, and packed as RPMs.
//
// What package distro calls glibc is a stand-in of a few hundred lines on which no program can run. Here each build is a
// dynamic loader and a libc.so.6 on which programs do run, with all the symbols, symbol versions, IFUNCs and assembly code of
// the real one. "make test-glibc" runs the whole way on them.
//
// The law it keeps: the machine's own package sources, compiler settings and libraries stay as they are; all that is made is
// in the cache (see [distro.CacheDir]), under a name that depends on everything that it was made of.
package glibctest
