package libpulp_test

import (
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestVersions: libpulp.so would take the one function that the live patch has the address of, and
// say that it is patched. That is done only if the live patch means that version.
func TestVersions(t *testing.T) {
	lib := library(t, false, "-DVERSIONS", "-Wl,--version-script=testdata/versions.map")
	for _, f := range flavours(t) {
		c := start(t, lib, f, "")
		p, path := container(t, lib, 10, "one:one_lp")
		err := c.apply(p, path)
		if mustNot(t, f.name, err, libpulp.ErrNotPatchable); !errors.Is(err, ulp.ErrAmbiguous) {
			t.Errorf("%s: %v", f.name, err)
		}
		c.says("1 2 3 107")
		for _, lines := range [][]string{{"one@@V2:one_lp"}, {"one@V1:one_lp", "one@@V2:one_lp"}} {
			p, path = container(t, lib, 10, lines...)
			must(t, f.name, c.apply(p, path))
			c.says("10 2 3 107")
			must(t, f.name, c.revert(p))
			c.says("1 2 3 107")
		}
		p, path = container(t, lib, 10, "one@V1:one_lp")
		p.Metadata.Functions[0].Old = "one@V3"
		mustNot(t, f.name, c.apply(p, path), libpulp.ErrNoOldFunction)
	}
}
