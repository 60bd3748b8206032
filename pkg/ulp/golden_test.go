package ulp_test

import (
	"encoding/hex"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// The sections of a container, byte for byte as libpulp 0.3.17 makes them of the same description,
// container and target. They must never change: installed live patches have them, and patch ids are
// compared.
func TestPackGolden(t *testing.T) {
	text := readFile(t, filepath.Join("testdata", "pack", "libsmall_livepatch1.dsc"))
	c, err := ulp.ParseContainer(
		readFile(t, filepath.Join("testdata", "pack", "libsmall_livepatch1.so")))
	if err != nil {
		t.Fatal(err)
	}
	lib, err := symtab.OpenLibrary(filepath.Join("testdata", "pack", "libsmall.so.1.json"),
		symtab.LibraryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	packed := pack(t, string(text), c, lib, ulp.PackOptions{})
	for _, name := range []string{ulp.SectionMetadata, ulp.SectionReverse, ulp.SectionComments} {
		want := readFile(t, filepath.Join("testdata", "pack", "golden"+name+".hex"))
		if d := cmp.Diff(string(want), hex.Dump(section(t, packed, name))); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
