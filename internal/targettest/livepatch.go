package targettest

import (
	"os"
	"strings"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Pack returns a live patch: the container that was compiled into the file plain, with the metadata
// of a description that gives it a name and has these lines for a library. Functions without NOPs
// are proved, as download does it, if the options allow them.
func Pack(plain, name, library string, o ulp.PackOptions, lines ...string) ([]byte, error) {
	image, err := os.ReadFile(plain)
	if err != nil {
		return nil, err
	}
	return PackImage(image, name, library, o, lines...)
}

// PackImage is Pack for a container in memory.
func PackImage(image []byte, name, library string, o ulp.PackOptions,
	lines ...string) ([]byte, error) {
	text := []byte("! bsc#12 CVE-2026-1 a test\n" + name + "\n@" + library + "\n" +
		strings.Join(lines, "\n") + "\n")
	d, err := ulp.ParseDescription("test.dsc", text)
	if err != nil {
		return nil, err
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return nil, err
	}
	lib, err := symtab.OpenLibrary(library,
		symtab.LibraryOptions{Prove: o.Entries == symtab.EntriesAny})
	if err != nil {
		return nil, err
	}
	return ulp.Pack(d, text, c, lib, o)
}
