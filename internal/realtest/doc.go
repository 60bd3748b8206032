// Package realtest has no code of its own: its tests patch real programs from Debian (nginx, Redis, PostgreSQL, Node.js,
// Python, and Python in bubblewrap) with a live patch for the machine's own libc, while clients check every answer.
//
// They run in namespaces of their own, where nothing else runs, and only if LPBUILD_TEST_REAL is set: "make test-real"
// installs the programs and sets it.
package realtest
