package ulp_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

func ExampleParseDescription() {
	d, err := ulp.ParseDescription("libc_livepatch1.dsc", []byte(`! CVE-2024-2961
libc_2.31-150300.26.5_livepatch1.so
@/lib64/libc.so.6
__libc_malloc:malloc_lp
#main_arena:ulpr_main_arena
`))
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	fmt.Println("target:", d.Target)
	for _, r := range d.Functions {
		fmt.Println(r.Old.Pos, r.Old, "->", r.New)
	}
	for _, r := range d.References {
		fmt.Println(r.Pos, r)
	}
	// Output:
	// target: /lib64/libc.so.6
	// libc_livepatch1.dsc:4:1 __libc_malloc -> malloc_lp
	// libc_livepatch1.dsc:5:1 #main_arena:ulpr_main_arena
}

// All mistakes of a file are found in one run.
func ExampleParseDescription_errors() {
	_, err := ulp.ParseDescription("x.dsc",
		[]byte("x.so\n@/lib64/libc.so.6\nmalloc\nfree:free_lp:\n"))
	fmt.Print(diag.Render(err, false))
	// Output:
	// x.dsc:3:7: error: expected ":" and the name of the replacement
	//     malloc
	//           ^
	//   hint: write OLD:NEW
	// x.dsc:4:13: error: second ":" in the line
	//     free:free_lp:
	//                 ^
	//   hint: write OLD:NEW; a line for a variable begins with #
}

func ExampleDescription_String() {
	d := ulp.Description{
		Comments:  []string{" bsc#1222992"},
		Container: ulp.Name{Text: "libfoo_1.0-1.1_livepatch1.so"},
		Target:    ulp.Name{Text: "/usr/lib64/libfoo.so.1"},
		Functions: []ulp.Replacement{{Old: ulp.Name{Text: "foo"}, New: ulp.Name{Text: "foo_lp"}}},
	}
	fmt.Print(d.String())
	// Output:
	// ! bsc#1222992
	// libfoo_1.0-1.1_livepatch1.so
	// @/usr/lib64/libfoo.so.1
	// foo:foo_lp
}

// A template of today's packages, whose words sed replaced, becomes the description for one build.
func ExampleDescription_Expand() {
	template, err := ulp.ParseDescription("libc_livepatch1.in",
		[]byte("libc_GLIBCVER_livepatch1.so\n@LIBC\n__libc_malloc:malloc_lp\n"))
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	d, err := template.Expand(ulp.Expansion{Version: "2.31", Release: "150300.26.5",
		Target: "libc.so.6.json"}, nil)
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	fmt.Print(d)
	// Output:
	// libc_2.31-150300.26.5_livepatch1.so
	// @libc.so.6.json
	// __libc_malloc:malloc_lp
}

// A pattern stands for what the indirect function can choose in this build.
func ExampleDescription_Expand_pattern() {
	lib, err := symtab.ParseCatalogue(
		[]byte(`{"library": {"name": "libsmall.so.1", "buildid": "", "arch": "x86_64",
		"resolvers": {"proof": 1, "list": [{"at": 4096, "returns": [4112, 4128]}]},
		"symbols": [{"name": "copy", "offset": 4096, "size": 16, "st_info": 26, "st_other": 0},
			{"name": "__copy_fast", "offset": 4112, "size": 16, "st_info": 2, "st_other": 0},
			{"name": "__copy_slow", "offset": 4128, "size": 16, "st_info": 2, "st_other": 0},
			{"name": "__copy_setup", "offset": 4144, "size": 16, "st_info": 2, "st_other": 0}]}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	template, err := ulp.ParseDescription("x.in",
		[]byte("x_{version}.so\n@{library}\n__copy_*:copy_lp\n"))
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	d, err := template.Expand(ulp.Expansion{Version: "1.0", Target: "libsmall.so.1"}, lib)
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	fmt.Print(d)
	// Output:
	// x_1.0.so
	// @libsmall.so.1
	// __copy_fast:copy_lp
	// __copy_slow:copy_lp
}

// opened returns the container and the target that the examples are about.
func opened() (*ulp.Container, *symtab.Library, error) {
	image, err := os.ReadFile(filepath.Join("testdata", "pack", "libsmall_livepatch1.so"))
	if err != nil {
		return nil, nil, err
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return nil, nil, err
	}
	lib, err := symtab.OpenLibrary(filepath.Join("testdata", "pack", "libsmall.so.1.json"),
		symtab.LibraryOptions{})
	return c, lib, err
}

func ExampleCheck() {
	c, lib, err := opened()
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := ulp.ParseDescription("x.dsc", []byte("libsmall_livepatch1.so\n@libsmall.so.1\n"+
		"next:nxt_lp\n#depth:ulpr_depth\n"))
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	err = ulp.Check(d, c, lib, symtab.EntriesNOPs)
	fmt.Print(diag.Render(err, false))
	fmt.Println(errors.Is(err, ulp.ErrNoSymbol), errors.Is(err, ulp.ErrTLS))
	// Output:
	// x.dsc:3:6: error: symbol "nxt_lp" is not in libsmall_livepatch1.so
	//     next:nxt_lp
	//          ^~~~~~
	//   hint: did you mean next_lp?
	// x.dsc:4:2: error: "depth" is a thread-local variable of libsmall.so.1
	//     #depth:ulpr_depth
	//      ^~~~~
	//   hint: write #%depth, and make ulpr_depth a pair of module and offset for __tls_get_addr
	// true true
}

func ExamplePack() {
	c, lib, err := opened()
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := os.ReadFile(filepath.Join("testdata", "pack", "libsmall_livepatch1.dsc"))
	if err != nil {
		fmt.Println(err)
		return
	}
	d, err := ulp.ParseDescription("libsmall_livepatch1.dsc", text)
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	image, err := ulp.Pack(d, text, c, lib, ulp.PackOptions{})
	if err != nil {
		fmt.Print(diag.Render(err, false))
		return
	}
	packed, err := ulp.ParseContainer(image) // image is what belongs into the file
	if err != nil {
		fmt.Println(err)
		return
	}
	data, _ := packed.Section(ulp.SectionMetadata)
	m, err := ulp.ParseMetadata(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range m.Functions {
		fmt.Println(f.Old, "->", f.New)
	}
	for _, r := range m.References { // the other way round
		fmt.Println(r.Target, "in", r.Reference, r.TLS)
	}
	// Output:
	// next -> next_lp
	// reset -> reset_lp
	// hidden in ulpr_hidden false
	// depth in ulpr_depth true
	// limit in ulpr_limit false
	// counter in ulpr_counter false
}

func ExampleParseMetadata() {
	m := &ulp.Metadata{
		Target:    ulp.Target{BuildID: make([]byte, 20), Name: "libc.so.6"},
		Functions: []ulp.Function{{Old: "__libc_malloc", New: "malloc_lp", OldValue: 0x9f140}},
	}
	data, err := m.AppendBinary(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := ulp.ParseMetadata(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(data), got.Target.Name, got.Functions[0].New)
	_, err = ulp.ParseMetadata(data[:40])
	fmt.Println(err)
	// Output:
	// 123 libc.so.6 malloc_lp
	// length of target build-id at 0x21: 20 bytes wanted, 3 left: unexpected EOF
}

// What the trigger hands to libpulp.so is the section with the container's path put in.
func ExampleMetadata_AppendBinary() {
	m := &ulp.Metadata{Target: ulp.Target{BuildID: make([]byte, 20), Name: "libc.so.6"}}
	section, err := m.AppendBinary(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	m.Path = "/usr/lib64/glibc/2.31/x.so"
	message, err := m.AppendBinary(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(section), len(message))
	got, err := ulp.ParseMetadataWithPath(message)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(got.Path)
	// Output:
	// 83 114
	// /usr/lib64/glibc/2.31/x.so
}

func ExampleParseReverse() {
	m := &ulp.Metadata{PatchID: [32]byte{1, 2, 3}, Target: ulp.Target{BuildID: make([]byte, 20),
		Name: "libc.so.6"}}
	section, err := m.AppendReverse(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := ulp.ParseReverse(section)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("revert %x of %s\n", got.PatchID[:4], got.Target.Name)
	// Output: revert 01020300 of libc.so.6
}
