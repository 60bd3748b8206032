// Package realtest has no code of its own: its tests patch real programs from Debian (nginx, Redis,
// PostgreSQL, MariaDB, Java, Node.js, Python, Python in bubblewrap, and Chromium) with a live patch
// for the machine's own libc, while clients check every answer.
//
// They run in namespaces of their own, where nothing else runs, and only if LPBUILD_TEST_REAL is
// set: "make test-real" installs the programs and sets it. Chromium, which is large, has "make
// test-chromium".
package realtest
