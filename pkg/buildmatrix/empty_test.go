package buildmatrix

import (
	"strings"
	"testing"
)

// TestEmptyMatrix checks the reason why nothing is to be built: the first fault, with its place.
func TestEmptyMatrix(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, want string }{
		"package's range": {"packages: [{name: toy}]", "packages: [{name: toy, builds: '> 3'}]",
			`"builds" of "packages" holds none of the 2 builds from 1.0-1 to 2.0-1 ` +
				`in lpbuild.lock`},
		"package's name": {"packages: [{name: toy}]", "packages: [{name: toys}]",
			`lpbuild.lock has no build of package toys`},
		"library": {"library: libtoy.so.1", "library: libtoi.so.1",
			`lpbuild.yaml:9:5: error: toy_livepatch1.in: no build in lpbuild.lock has the ` +
				`library libtoi.so.1 (they have libtoy.so.1)`},
		"patch's range": {"    sources:", "    builds: '> 3'\n    sources:",
			`"builds" of the patch, > 3, holds none of the 2 builds from 1.0-1 to 2.0-1`},
		"architecture": {"arch: [x86_64]", "arch: [ppc64le]",
			`lpbuild.lock has no build for ppc64le`},
	} {
		f := newPackage(t, "1.0-1", "2.0-1")
		f.edit(tc.old, tc.new)
		if r, err := f.build(); r != nil || err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error is %v, want %q", name, err, tc.want)
		}
	}
	f := newPackage(t)
	if _, err := f.build(); err == nil || !strings.Contains(err.Error(),
		"lpbuild.lock has no builds") {
		t.Errorf("empty lock: error is %v", err)
	}
}
