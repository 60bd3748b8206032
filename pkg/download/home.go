package download

import (
	"path"

	"github.com/lpbuild/lpbuild/pkg/rpmver"
)

// merged is the glibc release in which the libraries below became empty shells and their functions
// moved to libc.so.6.
var merged = rpmver.EVR{Version: "2.34"}

var mergedLibraries = map[string]bool{
	"libpthread.so.0": true, "librt.so.1": true, "libdl.so.2": true, "libutil.so.1": true,
	"libanl.so.1": true,
}

// Home returns the library that holds what a patch for library changes in a build of a source
// package. That is library itself, a base name or a path, except for the parts of glibc that
// release 2.34 merged into the libc.so.6 beside them.
func Home(source string, evr rpmver.EVR, library string) string {
	dir, base := path.Split(library)
	if source == "glibc" && mergedLibraries[base] &&
		rpmver.Compare(evr.Version, merged.Version) >= 0 {
		return dir + "libc.so.6"
	}
	return library
}
