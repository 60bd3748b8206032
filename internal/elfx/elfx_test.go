package elfx_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/internal/elfx"
)

const source = `
#include <stdio.h>
int writable = 1;
int zeros[100];
const int constant = 2;
__attribute__((used)) static void *const relocated = puts;
void *f(void) { puts("x"); return relocated; }
int g(int x) { return x + writable + constant; }
__asm__(".symver f_old, h@V_1");
__asm__(".symver f_new, h@@V_2");
int f_old(void) { return 1; }
int f_new(void) { return 2; }
`

const versionScript = "V_1 { global: f; g; h; writable; constant; local: *; };\nV_2 { global: h; " +
	"} V_1;\n"

var build = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "elfx-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{"a.c": source, "a.map": versionScript} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("gcc", "-O2", "-fPIC", "-shared", "-fpatchable-function-entry=16,14",
		"-Wl,--build-id=0x0123456789abcdef", "-Wl,-soname,libx.so", "-Wl,-z,relro",
		"-nostdlib", "-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=4096",
		"-Wl,--version-script=a.map", "-o", "a.so", "a.c", "-lc")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(err, errors.New(string(out)))
	}
	return os.ReadFile(filepath.Join(dir, "a.so"))
})

// image returns a copy of a shared object of x86_64.
func image(t testing.TB) []byte {
	t.Helper()
	b, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}

func parse(t testing.TB, image []byte) *elfx.File {
	t.Helper()
	f, err := elfx.Parse(image)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Everything at once, as the standard library reads it.
func TestFileIsDebugElfs(t *testing.T) {
	f := parse(t, image(t))
	want, err := elf.NewFile(bytes.NewReader(image(t)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != want.Type || f.Machine != want.Machine || len(f.Sections) != len(want.Sections) ||
		len(f.Segments) != len(want.Progs) {
		t.Fatalf("file is %v, %v, with %d sections and %d segments", f.Type, f.Machine,
			len(f.Sections), len(f.Segments))
	}
	for i := range f.Sections {
		s, w := &f.Sections[i], want.Sections[i]
		got := elf.SectionHeader{Name: f.Name(s), Type: s.Type, Flags: s.Flags, Addr: s.Addr,
			Offset: s.Offset, Size: s.Size, Link: s.Link, Info: s.Info, Addralign: s.Align,
			Entsize: s.Entsize, FileSize: s.Size}
		if got != w.SectionHeader {
			t.Errorf("section %d is %+v, want %+v", i, got, w.SectionHeader)
		}
		if data, _ := w.Data(); s.InFile() && !bytes.Equal(f.Data(s), data) {
			t.Errorf("section %s has other bytes", w.Name)
		}
		raw := image(t)[f.Shoff+uint64(i)*elfx.SectionSize:][:elfx.SectionSize]
		if b, err := s.AppendBinary(nil); err != nil || !bytes.Equal(b, raw) {
			t.Errorf("section %d is written as %x, %v; want %x", i, b, err, raw)
		}
	}
	for i, p := range f.Segments {
		w := want.Progs[i]
		if p != (elfx.Segment{Type: w.Type, Flags: w.Flags, Offset: w.Off, Vaddr: w.Vaddr,
			Filesz: w.Filesz, Memsz: w.Memsz}) {
			t.Errorf("segment %d is %+v, want %+v", i, p, w.ProgHeader)
		}
	}
	if s := f.Find(".text"); s == nil || f.Name(s) != ".text" || f.Find(".tex") != nil ||
		f.Find("") != nil {
		t.Errorf("Find(.text): %+v", s)
	}
}

func TestDynamic(t *testing.T) {
	d, err := parse(t, image(t)).Dynamic()
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Strings(elf.DT_NEEDED); !slices.Equal(got, []string{"libc.so.6"}) {
		t.Errorf("DT_NEEDED: %q", got)
	}
	if got := d.Strings(elf.DT_SONAME); !slices.Equal(got, []string{"libx.so"}) {
		t.Errorf("DT_SONAME: %q", got)
	}
	if v, ok := d.Value(elf.DT_RELAENT); v != 24 || !ok {
		t.Errorf("DT_RELAENT: %d, %t", v, ok)
	}
	if v, ok := d.Value(elf.DT_TEXTREL); v != 0 || ok {
		t.Errorf("DT_TEXTREL: %d, %t", v, ok)
	}
}

func TestVersions(t *testing.T) {
	f := parse(t, image(t))
	dynsym, err := f.SymbolTable(elf.SHT_DYNSYM)
	if err != nil {
		t.Fatal(err)
	}
	versions, err := f.Versions(dynsym.Strings)
	if err != nil {
		t.Fatal(err)
	}
	str := func(off uint32) string {
		if off == elfx.NoString {
			return ""
		}
		s, _, _ := strings.Cut(string(dynsym.Strings[off:]), "\x00")
		return s
	}
	got := make(map[string]string)
	for i := range dynsym.Len() {
		v, isDefault, ok := versions.Of(i)
		name := str(dynsym.Row(i).NameOff)
		switch {
		case ok && isDefault:
			got[name] = "@@" + str(v.NameOff) + " " + str(v.FileOff)
		case ok:
			got[name+" hidden"] = "@" + str(v.NameOff)
		}
	}
	want := map[string]string{"f": "@@V_1 ", "g": "@@V_1 ", "h": "@@V_2 ", "h hidden": "@V_1",
		"puts": "@@GLIBC_2.2.5 libc.so.6", "writable": "@@V_1 ", "constant": "@@V_1 ",
		"V_1": "@@V_1 ", "V_2": "@@V_2 "}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("versions (-want +got):\n%s", d)
	}
	if _, _, ok := versions.Of(dynsym.Len()); ok {
		t.Error("a row behind the last one has a version")
	}
}

func TestMemory(t *testing.T) {
	f := parse(t, image(t))
	m, err := f.Memory()
	if err != nil {
		t.Fatal(err)
	}
	text, data, bss, relro := f.Find(".text"), f.Find(".data"), f.Find(".bss"),
		f.Find(".data.rel.ro")
	for name, tc := range map[string]struct {
		addr     uint64
		writable bool
	}{
		"text": {text.Addr, false}, "data": {data.Addr, true}, "bss": {bss.Addr, true},
		"relro":             {relro.Addr, false},
		"before everything": {farAway, false}, "header": {0, false},
		"constant": {f.Find(".rodata").Addr, false},
	} {
		if got := m.Writable(tc.addr); got != tc.writable {
			t.Errorf("%s is writable: %t", name, got)
		}
	}
	if code := m.Code(text.Addr); !bytes.HasPrefix(code, f.Data(text)) {
		t.Error("the code at .text is not that of .text")
	}
	if b := m.Code(data.Addr); b != nil {
		t.Errorf("data is code: %d bytes", len(b))
	}
	if b := m.From(data.Addr); !bytes.HasPrefix(b, f.Data(data)) {
		t.Error("the bytes at .data are not those of .data")
	}
	if b := m.From(bss.Addr + bss.Size - 1); len(b) > 0 {
		t.Errorf("the end of .bss has %d bytes in the file", len(b))
	}
	if b := m.From(farAway); b != nil {
		t.Errorf("no segment is there, but %d bytes", len(b))
	}
}

const farAway = 1<<64 - 1

func TestPatchableEntries(t *testing.T) {
	f := parse(t, image(t))
	entries, ok, err := f.PatchableEntries()
	if err != nil || !ok || len(entries) != 4 || !slices.IsSorted(entries) {
		t.Fatalf("PatchableEntries: %x, %t, %v", entries, ok, err)
	}
	symtab, err := f.SymbolTable(elf.SHT_SYMTAB)
	if err != nil {
		t.Fatal(err)
	}
	functions := 0
	for i := range symtab.Len() {
		if s := symtab.Row(i); slices.Contains(entries, s.Value-14) &&
			elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			functions++
		}
	}
	if functions < 4 {
		t.Errorf("only %d functions are behind the entries %x", functions, entries)
	}
}

// section returns the offset of the entry of the section table.
func section(f *elfx.File, name string) int {
	for i := range f.Sections {
		if f.Name(&f.Sections[i]) == name {
			return int(f.Shoff) + i*elfx.SectionSize
		}
	}
	return -1
}

// Offsets of fields in entries of the section table.
const (
	sectionName, sectionType, sectionOffset, sectionSize = 0, 4, 24, 32
	sectionLink, sectionInfo, sectionEntsize             = 40, 44, 56
)

// contents is all that a File has.
type contents struct {
	BuildID    []byte
	Needed     []string
	Entries    []uint64
	HasEntries bool
	Code       [][]byte // a little of it at each entry
	Rows       []elfx.Symbol
	Strings    []string
	Versions   []elfx.Version
}

// readAll asks a File for all that it has.
func readAll(f *elfx.File, err error) (*contents, error) {
	if err != nil {
		return nil, err
	}
	c := new(contents)
	if c.BuildID, err = f.BuildID(); err != nil {
		return nil, err
	}
	dynamic, err := f.Dynamic()
	if err != nil {
		return nil, err
	}
	c.Needed = dynamic.Strings(elf.DT_NEEDED)
	memory, err := f.Memory()
	if err != nil {
		return nil, err
	}
	if c.Entries, c.HasEntries, err = f.PatchableEntries(); err != nil {
		return nil, err
	}
	for _, entry := range c.Entries {
		code := memory.Code(entry)
		c.Code = append(c.Code, bytes.Clone(code[:min(len(code), 2048)]))
	}
	if err := memory.Err(); err != nil {
		return nil, err
	}
	for _, kind := range []elf.SectionType{elf.SHT_DYNSYM, elf.SHT_SYMTAB} {
		if err := c.readTable(f, kind); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *contents) readTable(f *elfx.File, kind elf.SectionType) error {
	t, err := f.SymbolTable(kind)
	if err != nil || t == nil {
		return err
	}
	c.Strings = append(c.Strings, string(t.Strings))
	rows := t.Rows()
	for i := range rows.Len() {
		c.Rows = append(c.Rows, rows.Row(i))
	}
	if kind == elf.SHT_SYMTAB {
		return nil
	}
	v, err := f.Versions(t.Strings)
	if err != nil {
		return err
	}
	c.Versions = v.List
	return nil
}

// readBoth reads an image in memory and as a file, and wants the same of both: but for a file whose
// parts overlap, which is not read.
func readBoth(t testing.TB, image []byte) (*contents, error) {
	t.Helper()
	want, err := readAll(elfx.Parse(image))
	got, fileErr := readAll(elfx.Open(bytes.NewReader(image), int64(len(image))))
	if fileErr != nil && strings.Contains(fileErr.Error(), "tables overlap") {
		return want, err
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" ||
		fmt.Sprint(err) != fmt.Sprint(fileErr) {
		t.Fatalf("in memory: %v; as a file: %v (-memory +file):\n%s", err, fileErr, d)
	}
	return want, err
}

func TestErrors(t *testing.T) {
	good := image(t)
	if _, err := readBoth(t, good); err != nil {
		t.Fatal(err)
	}
	f := parse(t, good)
	in := func(name string, off int) int { return int(f.Find(name).Offset) + off }
	tests := map[string]struct {
		off  int
		v    uint64
		size int
		want string
	}{
		"no magic": {0, 0, 1, "ELF header at 0x0: not an ELF file"},
		"section table outside": {40, 1 << 40, 8,
			"section table at 0x10000000000: lies outside the file"},
		"size of section headers": {58, 63, 2, "wrong size of the entries"},
		"section names outside":   {62, 200, 2, "index of the section names"},
		"names are no string table": {section(f, ".shstrtab") + sectionType, 1, 4,
			"section names at"},
		"section outside": {section(f, ".text") + sectionOffset, 1 << 62, 8,
			"section 1"},
		"section too large": {section(f, ".text") + sectionSize, 1 << 63, 8,
			"lies outside the file"},
		"section name outside": {section(f, ".text") + sectionName, 1 << 20, 4,
			"name of section"},
		"size of program headers":  {54, 55, 2, "program header table"},
		"program headers outside":  {32, 1 << 40, 8, "program header table"},
		"segment outside":          {64 + 8, 1 << 40, 8, "segment 0"},
		"segments out of order":    {64 + 16, 1 << 40, 8, "not in the order"},
		"memory smaller than file": {64 + 40, 1, 8, "not in the order"},
		"symbols of another size": {section(f, ".dynsym") + sectionEntsize, 23, 8,
			"symbol table"},
		"symbols without names": {section(f, ".dynsym") + sectionLink, 0, 4,
			"section 0 does not exist"},
		"names of symbols far away": {section(f, ".dynsym") + sectionLink, 1 << 31, 4,
			"does not exist"},
		"half a symbol": {section(f, ".dynsym") + sectionSize, 25, 8,
			"wrong size"},
		"symbol's name outside": {in(".dynsym", 24), 1 << 20, 4, "name of symbol 1"},
		"names do not end": {in(".dynstr", int(f.Find(".dynstr").Size)-1), 'x', 1,
			"does not end in NUL"},
		"dynamic section without end": {section(f, ".dynamic") + sectionSize, 16, 8,
			"has no end"},
		"dynamic name outside": {in(".dynamic", 8), 1 << 40, 8,
			"name in the dynamic section"},
		"note too large":        {in(".note.gnu.build-id", 4), 1 << 31, 4, "note at"},
		"note's name too large": {in(".note.gnu.build-id", 0), 1<<32 - 1, 4, "note at"},
		"half a note": {section(f, ".note.gnu.build-id") + sectionSize, 8, 8,
			"note at"},
		"empty build-id": {in(".note.gnu.build-id", 4), 0, 4, "build-id at"},
		"half a patchable entry": {section(f, elfx.EntriesSection) + sectionSize, 7, 8,
			elfx.EntriesSection},
		"half a relocation": {section(f, ".rela.dyn") + sectionSize, 25, 8,
			"relocations"},
		"version definition: too many": {section(f, ".gnu.version_d") + sectionInfo, 9, 4,
			"number of records"},
		"version definition: too few": {section(f, ".gnu.version_d") + sectionInfo, 1, 4,
			"number of records"},
		"version definition: next": {in(".gnu.version_d", 16), 4, 4, "outside the section"},
		"version definition: far away": {in(".gnu.version_d", 16), 1 << 31, 4,
			"outside the section"},
		"version definition: auxiliary": {in(".gnu.version_d", 12), 1 << 31, 4,
			"outside the section"},
		"version definition: own record": {in(".gnu.version_d", 12), 0, 4, "outside the section"},
		"version need: auxiliary": {in(".gnu.version_r", 8), 1 << 31, 4,
			"outside the section"},
		"version need: file":  {in(".gnu.version_r", 4), 1 << 31, 4, "outside the file"},
		"version need: count": {in(".gnu.version_r", 2), 2, 2, "number of records"},
		"version need: name":  {in(".gnu.version_r", 16+8), 1 << 31, 4, "outside the file"},
		"version need: index": {in(".gnu.version_r", 16+6), 1, 2, "reserved"},
		"versions of another size": {section(f, ".gnu.version") + sectionEntsize, 4, 8,
			".gnu.version at"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(good)
			var v [8]byte
			binary.LittleEndian.PutUint64(v[:], tc.v)
			copy(bad[tc.off:tc.off+tc.size], v[:])
			_, err := readBoth(t, bad)
			if _, ok := errors.AsType[*elfx.Error](err); !ok ||
				!strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	for n := range elfx.HeaderSize {
		if f, err := elfx.Parse(image(t)[:n]); f != nil || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("the first %d bytes: %v, %v", n, f, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(image(f))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := readBoth(t, in)
		if _, ok := errors.AsType[*elfx.Error](err); (c == nil) != ok {
			t.Fatal(c, err)
		}
	})
}
