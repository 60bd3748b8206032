package ulp_test

import (
	"fmt"
	"os"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// A catalogue holds what is needed of a library without the library.
func ExampleParseCatalogue() {
	l, err := symtab.ParseCatalogue(
		[]byte(`{"library":{"name":"libc.so.6","buildid":"a88393d104a3613a","symbols":[
		{"name":"malloc","offset":633232,"size":471,"st_info":18,"st_other":0},
		{"name":"main_arena","offset":1846368,"size":2200,"st_info":1,"st_other":0}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for s := range l.Symbols() {
		fmt.Printf("%s: %#x, %d bytes, %v, %v\n", s.Name, s.Value, s.Size, s.Type(), s.Bind())
	}
	fmt.Println("written by libpulp:", !l.Complete)
	// Output:
	// malloc: 0x9a990, 471 bytes, STT_FUNC, STB_GLOBAL
	// main_arena: 0x1c2c60, 2200 bytes, STT_OBJECT, STB_LOCAL
	// written by libpulp: true
}

// `ulp extract`: from a library, and its debuginfo if there is one, to a catalogue.
func ExampleOpenLibrary() {
	l, err := symtab.OpenLibrary("/lib64/libc.so.6",
		symtab.LibraryOptions{Debug: "/usr/lib/debug/lib64/libc.so.6.debug"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := os.WriteFile("libc.so.6.json", l.AppendCatalogue(nil), 0o644); err != nil {
		fmt.Println(err)
	}
}

func ExampleEmbedSections() {
	image, err := os.ReadFile("libc_livepatch1.so")
	if err != nil {
		fmt.Println(err)
		return
	}
	image, err = ulp.EmbedSections(image, ulp.Section{Name: ".note.build",
		Data: []byte("built by lpbuild")})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := os.WriteFile("libc_livepatch1.so", image, 0o755); err != nil {
		fmt.Println(err)
	}
}
