package ulp_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

var embedded = []ulp.Section{
	{Name: ".ulp", Data: []byte("metadata of the live patch")},
	{Name: ".ulp.comments", Data: []byte("a comment")},
	{Name: ".ulp.rev", Data: []byte{2, 0, 1}},
}

func embed(t testing.TB, image []byte, sections ...ulp.Section) []byte {
	t.Helper()
	before := bytes.Clone(image)
	out, err := ulp.EmbedSections(image, sections...)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, image) {
		t.Error("EmbedSections changed its input")
	}
	return out
}

// wantSections checks that the image has the sections.
func wantSections(t *testing.T, image []byte, sections ...ulp.Section) {
	t.Helper()
	c := parseContainer(t, image)
	for _, s := range sections {
		if got, ok := c.Section(s.Name); !ok || !bytes.Equal(got, s.Data) {
			t.Errorf("section %s is %q, %t; want %q", s.Name, got, ok, s.Data)
		}
	}
}

// containers are shared objects of all kinds that are packed.
func containers(t testing.TB) map[string]struct {
	c     toolchain
	image []byte
} {
	t.Helper()
	all := make(map[string]struct {
		c     toolchain
		image []byte
	})
	for _, c := range toolchains {
		add := func(name string, image []byte) {
			all[string(c.arch)+", "+name] = struct {
				c     toolchain
				image []byte
			}{c, image}
		}
		stripped, _ := c.strip(t, c.library(t))
		add("plain", c.library(t))
		add("debugging", c.library(t, "-g"))
		add("stripped", stripped)
	}
	return all
}

// moved matches the lines of readelf that tell of the section table, of the section names and of
// what was embedded.
var moved = regexp.MustCompile(`Start of section headers|Number of section headers|There are \d+ ` +
	`section headers|\.shstrtab|\] \.ulp`)

func readelfWithoutMoved(t *testing.T, path string) []string {
	t.Helper()
	lines := strings.Split(run(t, "readelf", "-aW", path), "\n")
	return slices.DeleteFunc(lines, func(line string) bool { return moved.MatchString(line) })
}

func TestEmbedChangesNothingElse(t *testing.T) {
	for name, tc := range containers(t) {
		t.Run(name, func(t *testing.T) {
			before, after := writeFile(t, "before.so", tc.image), writeFile(t, "after.so",
				embed(t, tc.image, embedded...))
			if d := cmp.Diff(readelfWithoutMoved(t, before),
				readelfWithoutMoved(t, after)); d != "" {
				t.Errorf("readelf -aW (-before +after):\n%s", d)
			}
			lintBefore, _ := output("eu-elflint", "--gnu-ld", before)
			lintAfter, _ := output("eu-elflint", "--gnu-ld", after)
			if d := cmp.Diff(lintBefore, lintAfter); d != "" {
				t.Errorf("eu-elflint --gnu-ld (-before +after):\n%s", d)
			}
			sameSections(t, tc.image, readFile(t, after))
			wantSections(t, readFile(t, after), embedded...)
		})
	}
}

// sameSections compares all sections and segments that were there before, as another reader sees
// them.
func sameSections(t *testing.T, before, after []byte) {
	t.Helper()
	old, err := elf.NewFile(bytes.NewReader(before))
	if err != nil {
		t.Fatal(err)
	}
	now, err := elf.NewFile(bytes.NewReader(after))
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range old.Sections {
		if s.Name == ".shstrtab" || s.Type == elf.SHT_NULL || s.Type == elf.SHT_NOBITS {
			continue
		}
		a, errA := s.Data()
		b, errB := now.Sections[i].Data()
		if errA != nil || errB != nil || s.SectionHeader != now.Sections[i].SectionHeader ||
			!bytes.Equal(a, b) {
			t.Errorf("section %d was %+v, is %+v (%v, %v)", i, s.SectionHeader,
				now.Sections[i].SectionHeader, errA, errB)
		}
	}
	for i, p := range old.Progs {
		if p.ProgHeader != now.Progs[i].ProgHeader || !bytes.Equal(before[p.Off:p.Off+p.Filesz],
			after[p.Off:p.Off+p.Filesz]) && p.Off != 0 {
			t.Errorf("segment %d was %+v, is %+v", i, p.ProgHeader, now.Progs[i].ProgHeader)
		}
	}
	for _, s := range now.Sections[len(old.Sections):] {
		if s.Type != elf.SHT_PROGBITS || s.Flags != 0 || s.Addr != 0 || s.Addralign != 1 ||
			s.Link != 0 || s.Info != 0 || s.Entsize != 0 {
			t.Errorf("embedded section is %+v", s.SectionHeader)
		}
	}
}

func TestOtherToolsAcceptEmbedded(t *testing.T) {
	for name, tc := range containers(t) {
		t.Run(name, func(t *testing.T) {
			before, path := writeFile(t, "lib.so", tc.image), writeFile(t, "lib.so",
				embed(t, tc.image, embedded...))
			for _, s := range embedded {
				dump := path + s.Name
				run(t, tc.c.program("objcopy"), "--dump-section", s.Name+"="+dump, path,
					"/dev/null")
				if got := readFile(t, dump); !bytes.Equal(got, s.Data) {
					t.Errorf("objcopy reads %q of %s, want %q", got, s.Name, s.Data)
				}
			}
			// Both files are lib.so, but in directories of their own.
			body := func(path string) string {
				_, text, _ := strings.Cut(run(t, tc.c.program("objdump"), "-d", path), "\n\n")
				return text
			}
			if body(before) != body(path) {
				t.Error("objdump -d shows other code")
			}
			for _, flags := range [][]string{{"-g"}, {}} {
				out := path + ".stripped"
				run(t, tc.c.program("strip"), append(flags, "-o", out, path)...)
				wantSections(t, readFile(t, out), embedded...)
				again := embed(t, readFile(t, out),
					ulp.Section{Name: ".ulp", Data: []byte("again")})
				wantSections(t, again, ulp.Section{Name: ".ulp", Data: []byte("again")},
					embedded[1], embedded[2])
			}
		})
	}
}

func TestEmbeddedRuns(t *testing.T) {
	path := writeFile(t, "lib.so", embed(t, x86.library(t, "-g"), embedded...))
	cmd := exec.Command("/bin/true")
	cmd.Env = []string{"LD_PRELOAD=" + path, "LD_WARN=1"}
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("with LD_PRELOAD: %v\n%s", err, out)
	}
	if out := run(t, "gdb", "-nx", "-batch", "-ex", "info line exported",
		path); !strings.Contains(out, "library.c") {
		t.Errorf("gdb says:\n%s", out)
	}
}

func TestEmbedAgain(t *testing.T) {
	for name, tc := range containers(t) {
		t.Run(name, func(t *testing.T) {
			once := embed(t, tc.image, embedded...)
			if twice := embed(t, once, embedded...); !bytes.Equal(once, twice) {
				t.Errorf("embedding the same again: %d bytes became %d", len(once), len(twice))
			}
			reversed := slices.Clone(embedded)
			slices.Reverse(reversed)
			if twice := embed(t, once, reversed...); !bytes.Equal(once, twice) {
				t.Error("the order of the arguments matters for sections that are there")
			}
			large := []ulp.Section{{Name: ".ulp", Data: bytes.Repeat([]byte("x"), 5000)},
				embedded[1], embedded[2]}
			grown := embed(t, once, large...)
			if want := len(once) + 5000 - len(embedded[0].Data); len(grown) < want-8 ||
				len(grown) > want+8 {
				t.Errorf("with 5,000 bytes: %d bytes became %d", len(once), len(grown))
			}
			wantSections(t, grown, large...)
			if back := embed(t, grown, embedded...); !bytes.Equal(once, back) {
				t.Errorf("embedding less: %d bytes, want %d as before", len(back), len(once))
			}
			one := embed(t, once, ulp.Section{Name: ".ulp", Data: []byte("other")})
			wantSections(t, one, ulp.Section{Name: ".ulp", Data: []byte("other")}, embedded[1],
				embedded[2])
		})
	}
}

func TestEmbedReplacesObjcopys(t *testing.T) {
	for _, c := range toolchains {
		path, data := writeFile(t, "lib.so", c.library(t)),
			writeFile(t, "data", []byte("objcopy's"))
		run(t, c.program("objcopy"), "--add-section", ".ulp="+data, "--add-section",
			".ulp.rev="+data, path)
		before := readFile(t, path)
		after := embed(t, before, embedded...)
		sections := func(image []byte) (names []string) {
			f, err := elf.NewFile(bytes.NewReader(image))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range f.Sections {
				names = append(names, s.Name)
			}
			return names
		}
		if d := cmp.Diff(append(sections(before), ".ulp.comments"), sections(after)); d != "" {
			t.Errorf("%s: sections (-want +got):\n%s", c.arch, d)
		}
		wantSections(t, after, embedded...)
	}
}

func TestEmbedEmptyAndNothing(t *testing.T) {
	image := x86.library(t)
	empty := ulp.Section{Name: ".ulp", Data: []byte{}}
	wantSections(t, embed(t, image, empty), empty)
	if same := embed(t, image); !bytes.Equal(image, same) {
		t.Errorf("embedding nothing: %d bytes became %d", len(image), len(same))
	}
}

// What no structure accounts for, such as a signature, stays; and so does what lies after the
// section table.
func TestEmbedKeepsWhatItDoesNotKnow(t *testing.T) {
	image := x86.library(t)
	signed := append(bytes.Clone(image), "signature"...)
	once := embed(t, signed, embedded...)
	if !bytes.HasPrefix(once[64:], signed[64:]) {
		t.Error("bytes behind the section table are gone")
	}
	if twice := embed(t, once, embedded...); !bytes.Equal(once, twice) {
		t.Errorf("embedding again: %d bytes became %d", len(once), len(twice))
	}
	// .comment after the section table
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(f.Sections, func(s *elf.Section) bool { return s.Name == ".comment" })
	s := f.Sections[i]
	changed := append(bytes.Clone(image), image[s.Offset:s.Offset+s.Size]...)
	header := changed[int(binary.LittleEndian.Uint64(changed[40:]))+64*i:]
	binary.LittleEndian.PutUint64(header[24:], uint64(len(image)))
	after := embed(t, changed, embedded...)
	sameSections(t, changed, after)
	wantSections(t, after, embedded...)
}

func TestEmbedRefuses(t *testing.T) {
	image := x86.library(t)
	many := func(b []byte) { binary.LittleEndian.PutUint16(b[60:], 1) }
	tests := map[string]struct {
		image    []byte
		sections []ulp.Section
		want     string
	}{
		"loaded section":       {image, []ulp.Section{{Name: ".text"}}, "loaded at run time"},
		"symbol table":         {image, []ulp.Section{{Name: ".symtab"}}, "not plain data"},
		"section names":        {image, []ulp.Section{{Name: ".shstrtab"}}, "not plain data"},
		"section without data": {image, []ulp.Section{{Name: ".bss"}}, "loaded at run time"},
		"no name":              {image, []ulp.Section{{Name: ""}}, "not a name"},
		"NUL in name":          {image, []ulp.Section{{Name: ".u\x00lp"}}, "not a name"},
		"long name": {image, []ulp.Section{{Name: strings.Repeat("x", 5000)}},
			"not a name"},
		"twice": {image, []ulp.Section{{Name: ".ulp"}, {Name: ".ulp"}},
			"given twice"},
		"not ELF":            {bytes.Repeat([]byte("x"), 100), embedded, "not an ELF file"},
		"names out of range": {change(image, many), embedded, "index of the section names"},
		"segment out of range": {change(image, func(b []byte) { b[64+32+7] = 1 }), embedded,
			"segment 0"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := ulp.EmbedSections(tc.image, tc.sections...)
			if out != nil || !isFormatError(err) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("EmbedSections: %d bytes, %v; want an error with %q", len(out), err,
					tc.want)
			}
		})
	}
}

// change returns a changed copy of the image.
func change(image []byte, f func([]byte)) []byte {
	image = bytes.Clone(image)
	f(image)
	return image
}

func TestEmbedTooManySections(t *testing.T) {
	image := bytes.Clone(x86.library(t))
	count := binary.LittleEndian.Uint16(image[60:])
	table := image[binary.LittleEndian.Uint64(image[40:]):][:int(count)*64]
	const most = uint16(elf.SHN_LORESERVE) - 1
	binary.LittleEndian.PutUint64(image[40:], uint64(len(image)))
	binary.LittleEndian.PutUint16(image[60:], most-1)
	// the others are null sections
	image = append(append(image, table...), make([]byte, int(most-1-count)*64)...)
	full := embed(t, image, embedded[0])
	if n := binary.LittleEndian.Uint16(full[60:]); n != most {
		t.Fatalf("%d sections, want %d", n, most)
	}
	wantSections(t, full, embedded[0])
	if out, err := ulp.EmbedSections(full, embedded[1]); out != nil ||
		!errors.Is(err, symtab.ErrUnsupported) {
		t.Errorf("one section too many: %d bytes, %v", len(out), err)
	}
}
