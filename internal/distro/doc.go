// Package distro is a small Linux distributor in a directory: it builds real RPMs with rpmbuild,
// indexes them with createrepo_c, signs them with gpg and serves them on the loopback interface.
//
// Tests, benchmarks and the demo use it, so everything that they download, verify and patch went
// through the same tools as at a real distributor. The packages are called glibc, but contain a
// stand-in of a few hundred lines (directory standin) with the properties of the real one: SONAMEs,
// symbol versions, an IFUNC memcpy, patchable functions, hidden static symbols that only the
// debuginfo package has, and the move of libpthread into libc.so.6 in version 2.34. No program can
// run on it.
//
// Equal inputs give equal bytes, except for signatures; the user's own RPM and GnuPG settings are
// neither read nor written; no process outlives [Key.Close] or [Server.Close].
//
// [StandardRepository] and [Serve] suffice for most callers:
//
//	repo, err := distro.StandardRepository(ctx, dir, distro.StandardOptions{Builds: 5})
//	server, err := distro.Serve(dir)
//	// server.URL + "/update" and "/update_debug" are signed by repo.Key.Public()
package distro
