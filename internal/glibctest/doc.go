// Package glibctest has a real GNU C Library for live patching: Debian's source package, compiled
// once with -fpatchable-function-entry, linked several times with different addresses and
// build-ids, and packed as RPMs.
//
// The glibc of package distro is a stand-in of a few hundred lines on which no program can run.
// Here each build is a dynamic loader and a libc.so.6 on which programs do run, with all the
// symbols, symbol versions, IFUNCs and assembly code of the real one. "make test-glibc" tests
// everything on them, from download to revert.
//
// The machine's own package sources, compiler settings and libraries stay unchanged. All results
// are in the cache (see [distro.CacheDir]), under a name that depends on all inputs.
package glibctest
