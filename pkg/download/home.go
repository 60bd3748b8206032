package download

import (
	"path"

	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// merged is the glibc release from which the libraries below are empty shells and their functions live in libc.so.6.
var merged = rpmver.EVR{Version: "2.34"}

var mergedLibraries = map[string]bool{
	"libpthread.so.0": true, "librt.so.1": true, "libdl.so.2": true, "libutil.so.1": true, "libanl.so.1": true,
}

// Home returns the library in which a build of a source package keeps what a patch for library, a base name or a path,
// changes: library itself, but for the parts of glibc that became one with the libc.so.6 beside them in release 2.34.
func Home(source string, evr rpmver.EVR, library string) string {
	dir, base := path.Split(library)
	if source == "glibc" && mergedLibraries[base] && rpmver.Compare(evr.Version, merged.Version) >= 0 {
		return dir + "libc.so.6"
	}
	return library
}
