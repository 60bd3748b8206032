package targettest

import (
	"os"
	"testing"
)

// Libpulp returns libpulp's own libpulp.so, for tests beside those with a stand-in: the one that
// LPBUILD_LIBPULP names, or the system's. It is "" if there is none, which the test's log says.
func Libpulp(t testing.TB) string {
	t.Helper()
	for _, path := range []string{os.Getenv("LPBUILD_LIBPULP"), "/usr/lib64/libpulp.so.0",
		"/usr/lib/x86_64-linux-gnu/libpulp.so.0"} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	t.Log("skipped: libpulp itself: LPBUILD_LIBPULP does not name a libpulp.so, and the system " +
		"has none")
	return ""
}
