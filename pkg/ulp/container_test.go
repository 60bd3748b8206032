package ulp_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// Facts of containers that flags of the linker decide.
type facts struct {
	TextRelocations, ExecStack, Interp, Init, TLS bool
	StaticTLS, NoDlopen, RunPath                  bool
}

func TestContainerFacts(t *testing.T) {
	const (
		bare   = ".globl f\n.type f,@function\nf: ret\n.section .note.GNU-stack,\"\",@progbits\n"
		noNote = ".globl f\n.type f,@function\nf: ret\n"
		tls    = bare + ".section .tbss,\"awT\",@nobits\n.zero 8\n"
		text   = bare + ".text\n.globl absent\n.quad absent\n"
		array  = bare + ".section .init_array,\"aw\"\n.quad f\n"
		interp = bare + ".section .interp,\"a\"\n.string \"/lib64/ld-linux-x86-64.so.2\"\n"
	)
	tests := map[string]struct {
		image []byte
		want  facts
	}{
		"nothing":  {x86.build(t, bare, "-nostdlib"), facts{}},
		"crtbegin": {x86.build(t, bare), facts{Init: true}},
		"TLS":      {x86.build(t, tls, "-nostdlib"), facts{TLS: true}},
		"executable stack": {x86.build(t, bare, "-nostdlib", "-Wl,-z,execstack"),
			facts{ExecStack: true}},
		"no word on stack": {x86.build(t, noNote, "-nostdlib", "-Wl,--no-warn-execstack"),
			facts{ExecStack: true}},
		"interpreter": {x86.build(t, interp, "-nostdlib"), facts{Interp: true}},
		"text relocations": {x86.build(t, text, "-nostdlib", "-Wl,-z,notext"),
			facts{TextRelocations: true}},
		"constructor, no crt": {x86.build(t, array, "-nostdlib"), facts{Init: true}},
		"constructor and crt": {x86.build(t, array), facts{Init: true}},
		"stripped":            {x86.build(t, bare, "-s"), facts{Init: true}},
		"stripped, but more":  {x86.build(t, array, "-s"), facts{Init: true}},
		"an _init of its own": {x86.build(t, bare+".globl _init\n_init: ret\n", "-nostdlib"),
			facts{Init: true}},
		"static TLS": {x86.build(t, tls+".text\nmovq v@gottpoff(%rip), %rax\n.section .tbss\n"+
			"v: .zero 8\n", "-nostdlib"), facts{TLS: true, StaticTLS: true}},
		"not for dlopen": {x86.build(t, bare, "-nostdlib", "-Wl,-z,nodlopen"),
			facts{NoDlopen: true}},
		"RUNPATH": {x86.build(t, bare, "-nostdlib", "-Wl,-rpath,/x"), facts{RunPath: true}},
		"RPATH": {x86.build(t, bare, "-nostdlib", "-Wl,-rpath,/x,--disable-new-dtags"),
			facts{RunPath: true}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := parseContainer(t, tc.image)
			got := facts{
				c.TextRelocations, c.ExecStack, c.Interp, c.Init, c.TLS,
				c.StaticTLS, c.NoDlopen, c.RunPath,
			}
			if got != tc.want {
				t.Errorf("facts are %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestContainerUndefined(t *testing.T) {
	want := []symtab.Undefined{
		{Name: "__cxa_finalize", Version: "GLIBC_2.2.5", File: "libc.so.6", Weak: true},
		{Name: "__gmon_start__", Weak: true},
		{Name: "__tls_get_addr", Version: "GLIBC_2.3", File: "ld-linux-x86-64.so.2"},
		{Name: "absent", Weak: true},
		{Name: "puts", Version: "GLIBC_2.2.5", File: "libc.so.6"},
	}
	got := slices.DeleteFunc(parseContainer(t, x86.library(t)).Undefined(),
		func(u symtab.Undefined) bool { return u.Name[:4] == "_ITM" })
	slices.SortFunc(got, func(a, b symtab.Undefined) int {
		return bytes.Compare([]byte(a.Name), []byte(b.Name))
	})
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("undefined symbols (-want +got):\n%s", d)
	}
	// The order is that of .dynsym, where gcc names puts before what main code needs weakly.
	var names []string
	for _, u := range parseContainer(t, x86.library(t)).Undefined() {
		names = append(names, u.Name)
	}
	f, err := elf.NewFile(bytes.NewReader(x86.library(t)))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	symbols = slices.DeleteFunc(symbols, func(s elf.Symbol) bool {
		return s.Section != elf.SHN_UNDEF
	})
	if !slices.EqualFunc(symbols, names, func(s elf.Symbol, name string) bool {
		return s.Name == name
	}) {
		t.Errorf("undefined symbols are %q, want the order of %v", names, symbols)
	}
}

func TestContainerSection(t *testing.T) {
	image := x86.library(t)
	c := parseContainer(t, image)
	if data, ok := c.Section(".comment"); !ok || !bytes.Contains(data, []byte("GCC")) {
		t.Errorf("Section(.comment): %q, %t", data, ok)
	}
	for _, name := range []string{".ulp", ".bss", "", ".comm"} {
		if data, ok := c.Section(name); ok || data != nil {
			t.Errorf("Section(%q): %q, %t", name, data, ok)
		}
	}
	if &c.Image()[0] != &image[0] {
		t.Error("Image is a copy")
	}
}

func TestUnsupportedFiles(t *testing.T) {
	put16 := func(off int, v uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[off:], v) }
	}
	put := func(off int, v byte) func([]byte) { return func(b []byte) { b[off] = v } }
	tests := map[string]func([]byte){
		"32-bit":             put(elf.EI_CLASS, byte(elf.ELFCLASS32)),
		"big-endian":         put(elf.EI_DATA, byte(elf.ELFDATA2MSB)),
		"another version":    put(elf.EI_VERSION, 2),
		"relocatable object": put16(16, uint16(elf.ET_REL)),
		"core dump":          put16(16, uint16(elf.ET_CORE)),
		"another machine":    put16(18, uint16(elf.EM_S390)),
		"no section table":   func(b []byte) { clear(b[40:48]) },
		"no sections":        put16(60, 0),
		"65280 sections":     put16(60, uint16(elf.SHN_LORESERVE)),
		"names in section 0": put16(62, uint16(elf.SHN_XINDEX)),
		"65535 segments":     put16(56, 0xffff),
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			image := bytes.Clone(x86.library(t))
			change(image)
			if l, err := symtab.ParseLibrary(image, nil, ""); l != nil || !isFormatError(err) ||
				!errors.Is(err, symtab.ErrUnsupported) {
				t.Errorf("ParseLibrary: %v, %v", l, err)
			}
			if c, err := ulp.ParseContainer(image); c != nil ||
				!errors.Is(err, symtab.ErrUnsupported) {
				t.Errorf("ParseContainer: %v, %v", c, err)
			}
			if b, err := ulp.EmbedSections(image); b != nil ||
				!errors.Is(err, symtab.ErrUnsupported) {
				t.Errorf("EmbedSections: %d bytes, %v", len(b), err)
			}
		})
	}
}

func TestArch(t *testing.T) {
	for _, a := range []symtab.Arch{symtab.X86_64, symtab.PPC64LE, symtab.AArch64} {
		if got, err := symtab.ArchOf(a.Machine()); got != a || err != nil {
			t.Errorf("ArchOf(%v): %q, %v", a.Machine(), got, err)
		}
	}
	if a, err := symtab.ArchOf(elf.EM_386); a != "" || !errors.Is(err, symtab.ErrUnsupported) {
		t.Errorf("ArchOf(EM_386): %q, %v", a, err)
	}
	if m := symtab.Arch("i586").Machine(); m != elf.EM_NONE {
		t.Errorf("machine of i586 is %v", m)
	}
}
