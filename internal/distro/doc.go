// Package distro is a small Linux distributor in a folder: it builds real RPMs with rpmbuild, indexes them with
// createrepo_c, signs them with gpg and serves them on the loopback interface.
//
// Tests, benchmarks and the demo stand on it, so that what they download, verify and patch went through the same tools
// as at a real distributor. The packages are called glibc, but hold a stand-in of a few hundred lines (folder standin)
// with the shape of the real one: SONAMEs, symbol versions, an IFUNC memcpy, patchable functions, hidden static symbols
// that only the debuginfo package knows, and the move of libpthread into libc.so.6 with version 2.34. No program can
// run on it.
//
// The law it keeps: equal inputs give equal bytes, up to the signatures; nothing is read from or written to the user's
// own RPM or GnuPG settings; no process outlives [Key.Close] or [Server.Close].
//
// [StandardRepository] and [Serve] are all that most callers need:
//
//	repo, err := distro.StandardRepository(ctx, dir, distro.StandardOptions{Builds: 5})
//	server, err := distro.Serve(dir)
//	// server.URL + "/update" and "/update_debug" are signed by repo.Key.Public()
package distro
