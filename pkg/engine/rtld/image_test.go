package rtld

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// fakeLibraries lists the libraries in an image that is mapped as a whole.
func fakeLibraries(t testing.TB, image []byte) (forged.Memory, []*Library, error) {
	t.Helper()
	m := forged.Memory{forged.Base: image}
	text := fmt.Sprintf("%x-%x r-xp 00000000 fe:00 7    /lib/liar.so", uint64(forged.Base),
		forged.Base+pageUp(uint64(len(image))))
	list, err := FindLibraries(t.Context(), m, mappings(t, text), Auxv{})
	return m, list, err
}

// mappings returns those of lines as in /proc/PID/maps.
func mappings(t testing.TB, lines ...string) []Mapping {
	t.Helper()
	var list []Mapping
	text := strings.NewReader(strings.Join(lines, "\n") + "\n")
	err := procfs.EachMapping(text, func(l *procfs.Mapping) error {
		list = append(list, Mapping{Start: l.Start, End: l.End, Offset: l.Offset,
			Perm: Perm(l.Perm), File: FileID{l.Dev, l.Inode}, Path: string(l.Path)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// probe uses everything that a library's symbol table has, and returns the first error.
func probe(r Reader, l *Library) error {
	s, err := openSymbols(r, l)
	if err != nil {
		return err
	}
	_, err = s.lookup(r, "trigger", "")
	if _, none := s.lookup(r, "nobody", ""); !errors.Is(none, ulp.ErrNoSymbol) {
		err = errors.Join(err, none)
	}
	return err
}

func TestLies(t *testing.T) {
	for name, lie := range forged.Lies {
		t.Run(name, func(t *testing.T) {
			m, list, err := fakeLibraries(t, forged.Library(lie.Changes...))
			if err != nil || len(list) != 1 {
				t.Fatalf("%d libraries, %v", len(list), err)
			}
			l := list[0]
			if !errors.Is(l.Problem, lie.Listed) || lie.Listed == nil &&
				(string(l.BuildID) != "liarliarliarliarliar" || l.SONAME != "liar.so") {
				t.Errorf("Problem %v, want %v; build-id %q, SONAME %q", l.Problem, lie.Listed,
					l.BuildID, l.SONAME)
			}
			if len(l.BuildID) == 0 && l.dynamic == nil {
				return // nothing can be asked of it
			}
			if err := probe(m, l); !errors.Is(err, lie.Symbols) {
				t.Errorf("symbols: %v, want %v", err, lie.Symbols)
			}
		})
	}
}

func TestForgedVersions(t *testing.T) {
	m, list, err := fakeLibraries(t, forged.Library())
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSymbols(m, list[0])
	if err != nil {
		t.Fatal(err)
	}
	if sym, err := s.lookup(m, "state", "V1"); err != nil || sym.Addr != forged.Base+forged.Text+
		16 || sym.Size != 16 {
		t.Errorf("state: %+v, %v", sym, err)
	}
	if n, err := s.table.count(m); n != 3 || err != nil {
		t.Errorf("count: %d, %v", n, err)
	}
	if list, err := s.rows(m, 1, 3); len(list) != 2 || err != nil {
		t.Errorf("rows: %+v, %v", list, err)
	}
}

// Two images of the same file, and segments that only claim to belong together.
func TestClaims(t *testing.T) {
	image := forged.Library()
	m := forged.Memory{forged.Base: image, forged.Base + 0x10000: image,
		forged.Base + 0x20000: forged.Library(forged.Change{56, 2, 0xffff})}
	maps := func(lines ...string) []Mapping { return mappings(t, lines...) }
	tests := map[string]struct {
		maps []Mapping
		want string // the segments of each library
	}{
		"twice": {maps("7f0000000000-7f0000002000 r-xp 00000000 fe:00 7 /a",
			"7f0000010000-7f0000012000 r-xp 00000000 fe:00 7 /a"), "1 1 "},
		"split": {maps("7f0000000000-7f0000001000 r--p 00000000 fe:00 7 /a",
			"7f0000001000-7f0000002000 r-xp 00001000 fe:00 7 /a"), "2 "},
		"wrong offset": {maps("7f0000000000-7f0000001000 r-xp 00000000 fe:00 7 /a",
			"7f0000001000-7f0000002000 r-xp 00003000 fe:00 7 /a"), "1 "},
		"other file inside": {maps("7f0000000000-7f0000001000 r-xp 00000000 fe:00 7 /a",
			"7f0000001000-7f0000002000 r-xp 00001000 fe:00 8 /b"), "1 "},
		"malformed": {maps("7f0000020000-7f0000021000 r--p 00000000 fe:00 7 /a",
			"7f0000021000-7f0000022000 rw-p 00000000 00:00 0",
			"7f0000030000-7f0000032000 r-xp 00001000 fe:00 7 /a",
			"7f0000040000-7f0000041000 r-xp 00000000 fe:00 7 /a"), "2 1 "},
		"no code": {maps("7f0000000000-7f0000002000 r--p 00000000 fe:00 7 /a"), ""},
		"behind the end": {maps("7f0000000000-7f0000002000 r-xp 00000000 fe:00 7 /a",
			"7f0000002000-7f0000003000 rw-p 00000000 00:00 0"), "1 "},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := FindLibraries(t.Context(), m, tc.maps, Auxv{})
			got := ""
			for _, l := range list {
				got += fmt.Sprint(len(l.Segments)) + " "
			}
			if err != nil || got != tc.want {
				t.Errorf("segments %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

// The kernel merges .bss with memory without a file that is mapped right after it.
func TestMergedBSS(t *testing.T) {
	im := image{bias: 0x10000, loads: []span{{addr: 0x2000, offset: 0x1000, filesz: 0x1800,
		memsz: 0x3800}}}
	for _, tc := range []struct {
		m          Mapping
		start, end uint64 // of the part; 0: none
	}{
		{Mapping{Start: 0x14000, End: 0x16000}, 0x14000, 0x16000},
		{Mapping{Start: 0x14000, End: 0x90000}, 0x14000, 0x16000},
		{Mapping{Start: 0x15000, End: 0x90000}, 0x15000, 0x16000},
		{Mapping{Start: 0x16000, End: 0x90000}, 0, 0},
		{Mapping{Start: 0x11000, End: 0x16000}, 0, 0},
	} {
		s, ok := im.part(&tc.m)
		if ok != (tc.end != 0) || s.Start != tc.start || s.End != tc.end || s.File {
			t.Errorf("%#x to %#x: %+v, %v", tc.m.Start, tc.m.End, s, ok)
		}
	}
}

// Code that was moved into memory without a file is still the image's, if it is where the image has
// code.
func TestMovedCode(t *testing.T) {
	im := image{bias: 0x10000, loads: []span{{addr: 0x2000, offset: 0x1000, filesz: 0x1800,
		memsz: 0x3800}}}
	exec := PermRead | PermExec
	for _, tc := range []struct {
		m    Mapping
		want bool
	}{
		{Mapping{Start: 0x12000, End: 0x14000, Perm: exec}, true},
		{Mapping{Start: 0x13000, End: 0x14000, Perm: exec}, true},
		{Mapping{Start: 0x12000, End: 0x14000, Perm: PermRead}, false},
		{Mapping{Start: 0x11000, End: 0x14000, Perm: exec}, false},
		{Mapping{Start: 0x12000, End: 0x15000, Perm: exec}, false},
	} {
		s, ok := im.part(&tc.m)
		if ok != tc.want || ok && (s.Start != tc.m.Start || s.End != tc.m.End || s.File) {
			t.Errorf("%#x to %#x: %+v, %v", tc.m.Start, tc.m.End, s, ok)
		}
	}
}

// The kernel merges segments that follow each other in memory and in the file, which tools that add
// segments make.
func TestMergedSegments(t *testing.T) {
	file := FileID{Inode: 1}
	im := image{loads: []span{{addr: 0x403000, offset: 0x3000, filesz: 0x90, memsz: 0xa0},
		{addr: 0x404000, offset: 0x4000, filesz: 0x3020, memsz: 0x3020},
		{addr: 0x409000, offset: 0x8000, filesz: 0x10, memsz: 0x10}}}
	for _, tc := range []struct {
		m    Mapping
		want bool
	}{
		{Mapping{Start: 0x403000, End: 0x408000, Offset: 0x3000, File: file}, true},
		{Mapping{Start: 0x403000, End: 0x404000, Offset: 0x3000, File: file}, true},
		{Mapping{Start: 0x405000, End: 0x408000, Offset: 0x5000, File: file}, true},
		{Mapping{Start: 0x403000, End: 0x409000, Offset: 0x3000, File: file}, false},
		{Mapping{Start: 0x408000, End: 0x409000, Offset: 0x8000, File: file}, false},
		{Mapping{Start: 0x409000, End: 0x40a000, Offset: 0x8000, File: file}, true},
	} {
		if s, ok := im.part(&tc.m); ok != tc.want || ok &&
			(s.Start != tc.m.Start || s.End != tc.m.End) {
			t.Errorf("%#x to %#x: %+v, %v", tc.m.Start, tc.m.End, s, ok)
		}
	}
}
