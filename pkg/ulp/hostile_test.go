package ulp_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// readEverything reads what can be read of an image and checks what holds for all of them, good or
// bad: a result or an error that tells where, never both.
func readEverything(t testing.TB, image []byte) (ok bool) {
	t.Helper()
	c, err := ulp.ParseContainer(image)
	if (c == nil) != isFormatError(err) {
		t.Fatalf("ParseContainer: %v, %v", c, err)
	}
	l, libraryErr := symtab.ParseLibrary(image, nil, "lib.so")
	if fmt.Sprint(libraryErr) != fmt.Sprint(err) || (l == nil) != (c == nil) {
		t.Fatalf("ParseLibrary: %v, ParseContainer: %v", libraryErr, err)
	}
	if _, err := symtab.ParseLibrary(image, image, ""); err != nil && !isFormatError(err) {
		if _, ok := errors.AsType[*symtab.BuildIDError](err); !ok {
			t.Fatalf("ParseLibrary with debuginfo: %v", err)
		}
	}
	if c != nil {
		c.Undefined()
		c.Section(".ulp")
		c.Lookup("exported")
		if n := len(slices.Collect(c.Symbols())); n != c.Len() {
			t.Fatalf("Len is %d, but there are %d symbols", c.Len(), n)
		}
	}
	out, err := ulp.EmbedSections(image, embedded...)
	if (out == nil) != isFormatError(err) {
		t.Fatalf("EmbedSections: %d bytes, %v", len(out), err)
	}
	return c != nil
}

// memoryFactor and memorySlack bound what reading an image may allocate: a multiple of its size,
// and a constant.
const (
	memoryFactor = 4
	memorySlack  = 32 << 10
)

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func checkMemory(t testing.TB, what string, image []byte) {
	t.Helper()
	limit := uint64(memoryFactor*len(image) + memorySlack)
	for how, f := range map[string]func(){
		"container": func() { _, _ = ulp.ParseContainer(image) },
		"embed":     func() { _, _ = ulp.EmbedSections(image, embedded...) },
		"post":      func() { _, _ = ulp.MergeNOPs(image) },
		"live patch": func() {
			if c, err := ulp.ParseContainer(image); err == nil {
				_, _ = c.LivePatch()
			}
		},
		"all symbols": func() {
			if l, err := symtab.ParseLibrary(image, nil, ""); err == nil {
				for range l.Symbols() {
				}
				for i := range 100 { // so many that an index is made
					l.Lookup(manyNames[i%len(manyNames)])
				}
			}
		},
	} {
		if n := allocated(f); n > limit {
			t.Errorf("%s, %s: reading %d bytes allocates %d", what, how, len(image), n)
		}
	}
}

// manyNames are of symbols and of none.
var manyNames = []string{"exported", "hidden", "f", "absent", "_large_symbol_7"}

// What a file needs in memory when it is opened is bounded by its size, too; and where nothing is
// wrong it is much less: the code is not kept.
func TestOpenLibraryMemory(t *testing.T) {
	for what, image := range map[string][]byte{
		"large":              largeLibrary(t),
		"overlapping tables": hostileTable(t, elf.SHT_SYMTAB, 0, 24, 5000),
		"small":              x86.library(t, small...),
	} {
		path := writeFile(t, "lib.so", image)
		limit := uint64(memoryFactor*len(image) + memorySlack)
		if what == "large" {
			limit = uint64(len(image))
		}
		if n := allocated(func() {
			_, _ = symtab.OpenLibrary(path, symtab.LibraryOptions{})
		}); n > limit {
			t.Errorf("%s: opening %d bytes allocates %d", what, len(image), n)
		}
	}
	image := largeLibrary(t)
	checkMemory(t, "large", image)
}

func TestTruncatedAtEveryByte(t *testing.T) {
	for _, c := range toolchains {
		image, _ := c.strip(t, c.library(t))
		packed := embed(t, image, embedded...)
		compact := embed(t, c.library(t, small...), embedded...)
		for _, image := range [][]byte{image, packed, compact} {
			step := 1
			if len(image) > 32<<10 { // mostly zeros between segments; the compact one has none
				step = 7
			}
			for n := 0; n < len(image); n += step {
				if readEverything(t, image[:n:n]) {
					t.Fatalf("%s: the first %d of %d bytes were read", c.arch, n, len(image))
				}
			}
		}
	}
}

// field is a number in an image.
type field struct {
	what      string
	off, size int
}

func (f field) put(image []byte, v uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	copy(image[f.off:f.off+f.size], b[:])
}

// fields returns all numbers of the structures that are read: headers, tables and linked records.
func fields(t testing.TB, image []byte) (list []field) {
	t.Helper()
	add := func(what string, base int, sizes ...int) int {
		for i, size := range sizes {
			list = append(list, field{fmt.Sprintf("%s, field %d", what, i), base, size})
			base += size
		}
		return base
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	add("header", 16, 2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2)
	off := int(binary.LittleEndian.Uint64(image[32:]))
	for i := range f.Progs {
		off = add(fmt.Sprintf("segment %d", i), off, 4, 4, 8, 8, 8, 8, 8, 8)
	}
	off = int(binary.LittleEndian.Uint64(image[40:]))
	for i := range f.Sections {
		off = add(fmt.Sprintf("section %d", i), off, 4, 4, 8, 8, 8, 8, 4, 4, 8, 8)
	}
	records := map[elf.SectionType][]int{
		elf.SHT_DYNAMIC: {8, 8}, elf.SHT_NOTE: {4}, elf.SHT_GNU_VERSYM: {2},
		elf.SHT_GNU_VERDEF: {2, 2}, elf.SHT_GNU_VERNEED: {2, 2},
		elf.SHT_DYNSYM: {4, 1, 1, 2, 8, 8}, elf.SHT_RELA: {8, 4, 4, 8}, elf.SHT_STRTAB: {1},
	}
	for _, s := range f.Sections {
		sizes := records[s.Type]
		if s.Name == "__patchable_function_entries" {
			sizes = []int{8}
		}
		for off, end := int(s.Offset), int(s.Offset+s.Size); sizes != nil && off < end; {
			off = add(s.Name, off, sizes...)
		}
	}
	return list
}

func TestEveryFieldAtItsExtremes(t *testing.T) {
	image := x86.library(t, "-DVERSIONS", "-Wl,--version-script=testdata/library.map", "-s")
	values := []uint64{0, 1, 2, math.MaxInt32, math.MaxUint32, math.MaxInt64, math.MaxUint64,
		uint64(len(image)), uint64(len(image)) - 1}
	changed := bytes.Clone(image)
	for i, f := range fields(t, image) {
		for _, v := range values {
			f.put(changed, v)
			readEverything(t, changed)
			if i%16 == 0 { // it stops the world
				checkMemory(t, fmt.Sprintf("%s = %#x", f.what, v), changed)
			}
			copy(changed[f.off:f.off+f.size], image[f.off:])
		}
	}
}

// hostileTable returns a file whose section table has count sections of the type that all cover the
// whole file.
func hostileTable(t testing.TB, kind elf.SectionType, flags elf.SectionFlag, entsize,
	count int) []byte {
	t.Helper()
	image := bytes.Clone(x86.library(t))
	shoff, n := int(binary.LittleEndian.Uint64(image[40:])),
		int(binary.LittleEndian.Uint16(image[60:]))
	table := bytes.Clone(image[shoff : shoff+n*64])
	for i := range n { // those that are there become unknown ones, but for the names
		if kind := table[i*64+4:]; elf.SectionType(
			binary.LittleEndian.Uint32(kind)) != elf.SHT_STRTAB {
			binary.LittleEndian.PutUint32(kind, uint32(elf.SHT_PROGBITS))
		}
	}
	image = append(image, make([]byte, (8-len(image)%8)%8)...)
	size := len(image) + n*64 + count*64
	size -= size % entsize
	binary.LittleEndian.PutUint64(image[40:], uint64(len(image)))
	binary.LittleEndian.PutUint16(image[60:], uint16(n+count))
	image = append(image, table...)
	strtab := binary.LittleEndian.Uint16(image[62:])
	for range count {
		var s [64]byte
		binary.LittleEndian.PutUint32(s[4:], uint32(kind))
		binary.LittleEndian.PutUint64(s[8:], uint64(flags))
		binary.LittleEndian.PutUint64(s[32:], uint64(size))
		binary.LittleEndian.PutUint32(s[40:], uint32(strtab))
		binary.LittleEndian.PutUint64(s[56:], uint64(entsize))
		image = append(image, s[:]...)
	}
	return image
}

// Tables that cover the same bytes again and again must not add up.
func TestOverlappingTables(t *testing.T) {
	for _, kind := range []elf.SectionType{elf.SHT_NOTE, elf.SHT_RELA, elf.SHT_DYNSYM,
		elf.SHT_SYMTAB} {
		t.Run(kind.String(), func(t *testing.T) {
			image := hostileTable(t, kind, elf.SHF_ALLOC, 24, 5000)
			readEverything(t, image)
			checkMemory(t, "overlapping tables", image)
		})
	}
}

// Names that all end in one long string must not cost the product of their number and its length.
func TestNamesThatShareALongString(t *testing.T) {
	image := bytes.Clone(largeLibrary(t))
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(".strtab")
	names := image[s.Offset+1 : s.Offset+s.Size-1]
	copy(names, bytes.ReplaceAll(names, []byte{0}, []byte("x")))
	if l, err := symtab.ParseLibrary(image, nil, ""); l != nil || !isFormatError(err) {
		t.Errorf("ParseLibrary: %v, %v", l, err)
	}
}

// withSection returns the image with other bytes for the first section of the type, and their
// number in sh_info.
func withSection(t testing.TB, image []byte, kind elf.SectionType, data []byte,
	info uint32) []byte {
	t.Helper()
	image = bytes.Clone(image)
	shoff, n := int(binary.LittleEndian.Uint64(image[40:])),
		int(binary.LittleEndian.Uint16(image[60:]))
	for i := range n {
		if s := image[shoff+64*i:]; elf.SectionType(binary.LittleEndian.Uint32(s[4:])) == kind {
			binary.LittleEndian.PutUint64(s[24:], uint64(len(image)))
			binary.LittleEndian.PutUint64(s[32:], uint64(len(data)))
			binary.LittleEndian.PutUint32(s[44:], info)
			return append(image, data...)
		}
	}
	t.Fatalf("no section of type %v", kind)
	return nil
}

// manyVersions returns a .gnu.version_r with one file of which count versions are needed.
func manyVersions(count int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, 1)
	b = le.AppendUint16(b, uint16(count))
	for _, v := range []uint32{1, 16, 0} { // file, distance to the versions, to the next file
		b = le.AppendUint32(b, v)
	}
	for i := range count {
		next := uint32(16)
		if i == count-1 {
			next = 0
		}
		b = le.AppendUint16(append(b, 0, 0, 0, 0, 0, 0), uint16(i+2))
		b = le.AppendUint32(le.AppendUint32(b, 1), next)
	}
	return b
}

func TestManyVersionsAndNeededLibraries(t *testing.T) {
	image := withSection(t, x86.library(t), elf.SHT_GNU_VERNEED, manyVersions(4096), 1)
	if n := len(parseLibrary(t, image, nil).Needs); n != 4096 {
		t.Errorf("%d versions are needed", n)
	}
	checkMemory(t, "versions", image)
	image = withSection(t, x86.library(t), elf.SHT_GNU_VERNEED, manyVersions(4097), 1)
	if l, err := symtab.ParseLibrary(image, nil, ""); l != nil || !isFormatError(err) {
		t.Errorf("one version too many: %v, %v", l, err)
	}
	needed := bytes.Repeat([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 4096)
	needed = append(needed, make([]byte, 16)...)
	image = withSection(t, x86.library(t), elf.SHT_DYNAMIC, needed, 0)
	if n := len(parseLibrary(t, image, nil).Needed); n != 4096 {
		t.Errorf("%d libraries are needed", n)
	}
	checkMemory(t, "needed libraries", image)
	image = withSection(t, x86.library(t), elf.SHT_DYNAMIC, append(needed[:16:16], needed...), 0)
	if l, err := symtab.ParseLibrary(image, nil, ""); l != nil || !isFormatError(err) {
		t.Errorf("one library too many: %v, %v", l, err)
	}
}

func TestCatalogueMemory(t *testing.T) {
	repeat := func(s string) string { return string(bytes.Repeat([]byte(s), 20000)) }
	tests := map[string]string{
		"short symbols": catalogue(`"symbols":[`, `"symbols":[`+
			repeat(`{"name":"f","offset":0,"size":0,"st_info":0,"st_other":0},`)),
		"long name": catalogue(`"f"`, `"`+repeat("0123456789")+`"`),
		"long text": catalogue(`"l"`, `"`+repeat("0123456789")+`"`),
		"braces":    catalogue(`"f"`, `"`+repeat("{{{{{{")+`"`),
		"needs":     catalogue(`"needs":[`, `"needs":[`+repeat(`{"file":"a","version":"b"},`)),
		"needed":    catalogue(`["n"]`, `["n"`+repeat(`,"n"`)+`]`),
		"escapes":   catalogue(`"f"`, `"`+repeat(`\u0041\ud800`)+`"`),
	}
	var versions strings.Builder
	for i := range 4096 {
		fmt.Fprintf(&versions, `{"name":"f","offset":0,"size":0,"st_info":0,"st_other":0,`+
			`"version":"%d"},`, i)
	}
	tests["versions"] = catalogue(`"symbols":[`, `"symbols":[`+versions.String())
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			limit := uint64(memoryFactor*len(text) + memorySlack)
			data := []byte(text)
			if n := allocated(func() { _, _ = symtab.ParseCatalogue(data) }); n > limit {
				t.Errorf("reading %d bytes allocates %d", len(text), n)
			}
		})
	}
}

// small makes files of about 2 KB, which are changed quickly and mostly in a place that matters.
var small = []string{"-nostdlib", "-g0", "-Wl,-z,noseparate-code", "-Wl,-z,max-page-size=64",
	"-Wl,-z,common-page-size=64"}

func fuzzSeeds(f *testing.F) {
	f.Helper()
	for _, c := range toolchains {
		image := c.library(f, small...)
		stripped, debug := c.strip(f, image)
		for _, seed := range [][]byte{image, stripped, debug, embed(f, stripped, embedded...)} {
			f.Add(seed)
		}
	}
	versions := []string{"-DVERSIONS", "-DIFUNC", "-Wl,--version-script=testdata/library.map",
		"-Wl,-z,pack-relative-relocs"}
	f.Add(x86.library(f, append(versions, small...)...))
	f.Add([]byte(elf.ELFMAG))
}

func FuzzParseLibrary(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, image []byte) {
		if !readEverything(t, image) {
			return
		}
		l := parseLibrary(t, image, nil)
		again, err := symtab.ParseCatalogue(l.AppendCatalogue(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(l, again, sameLibrary); d != "" {
			t.Errorf("after writing and reading the catalogue (-before +after):\n%s", d)
		}
	})
}

func FuzzEmbed(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, image []byte) {
		once, err := ulp.EmbedSections(image, embedded...)
		if err != nil {
			if once != nil || !isFormatError(err) {
				t.Fatal(once, err)
			}
			return
		}
		twice, err := ulp.EmbedSections(once, embedded...)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("embedding again: %d bytes became %d: %v", len(once), len(twice), err)
		}
		c, err := ulp.ParseContainer(once)
		if err != nil {
			return // embedding needs less than reading
		}
		for _, s := range embedded {
			if data, ok := c.Section(s.Name); !ok || !bytes.Equal(data, s.Data) {
				t.Errorf("section %s is %q, %t", s.Name, data, ok)
			}
		}
	})
}
