package ulp_test

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// readelfRow matches a row of readelf's symbol tables: value, size, type, bind, section, name.
var readelfRow = regexp.MustCompile(`^ *\d+: ([0-9a-f]+) +(\w+) (\w+) +(\w+) +\w+ +(?:\[[^\]]*\] ` +
	`+)?(\w+) (\S+)`)

var readelfTypes = map[elf.SymType]string{
	elf.STT_NOTYPE: "NOTYPE", elf.STT_OBJECT: "OBJECT", elf.STT_FUNC: "FUNC",
	elf.STT_SECTION: "SECTION",
	elf.STT_FILE:    "FILE", elf.STT_TLS: "TLS", elf.STT_GNU_IFUNC: "IFUNC",
}

var readelfBinds = map[elf.SymBind]string{elf.STB_LOCAL: "LOCAL", elf.STB_GLOBAL: "GLOBAL",
	elf.STB_WEAK: "WEAK", 10: "UNIQUE"}

// readelfSymbols returns the named rows that readelf shows, each table from its end to its start.
func readelfSymbols(t testing.TB, path string) (rows []string) {
	t.Helper()
	start := 0 // of the table
	for line := range strings.Lines(run(t, "readelf", "-sW", path)) {
		m := readelfRow.FindStringSubmatch(line)
		switch {
		case strings.HasPrefix(line, "Symbol table"):
			slices.Reverse(rows[start:])
			start = len(rows)
		case m != nil && m[3] != "SECTION":
			rows = append(rows, fmt.Sprintf("%s %s %s %s %t %s", m[1], size(m[2]), m[3], m[4],
				m[5] == "UND", m[6]))
		}
	}
	slices.Reverse(rows[start:])
	return rows
}

// size undoes readelf's hexadecimal form of large sizes.
func size(s string) string {
	if n := uint64(0); strings.HasPrefix(s, "0x") {
		fmt.Sscanf(s, "%v", &n)
		return fmt.Sprint(n)
	}
	return s
}

// asReadelf returns the symbols as readelfSymbols does.
func asReadelf(l *symtab.Library) (rows []string) {
	for s := range l.Symbols() {
		name := s.Name
		switch {
		case s.Name == s.Version: // the symbol of a version itself
		case s.Default:
			name += "@@" + s.Version
		case s.Version != "":
			name += "@" + s.Version
		}
		rows = append(rows, fmt.Sprintf("%016x %d %s %s %t %s", s.Value, s.Size,
			readelfTypes[s.Type()], readelfBinds[s.Bind()], s.Undefined, name))
	}
	return rows
}

const hostLibc = "/lib/x86_64-linux-gnu/libc.so.6"

func TestSymbolsAreReadelfs(t *testing.T) {
	paths := map[string]string{"host libc": hostLibc}
	for _, c := range toolchains {
		paths[string(c.arch)] = writeFile(t, "lib.so", c.library(t))
		stripped, _ := c.strip(t, c.library(t))
		paths[string(c.arch)+" stripped"] = writeFile(t, "lib.so", stripped)
	}
	versions := x86.library(t, "-DVERSIONS", "-DIFUNC", "-Wl,--version-script=testdata/library.map",
		"-fuse-ld=bfd")
	paths["versions"] = writeFile(t, "lib.so", versions)
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			l, err := symtab.OpenLibrary(path, symtab.LibraryOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(readelfSymbols(t, path), asReadelf(l)); d != "" {
				t.Errorf("symbols (-readelf +ours):\n%s", d)
			}
			if n := len(slices.Collect(l.Symbols())); l.Len() != n {
				t.Errorf("Len is %d, but there are %d symbols", l.Len(), n)
			}
		})
	}
}

func TestParseLibraryFacts(t *testing.T) {
	want := map[symtab.Arch]string{symtab.X86_64: "GLIBC_2.2.5", symtab.PPC64LE: "GLIBC_2.17",
		symtab.AArch64: "GLIBC_2.17"}
	for _, c := range toolchains {
		t.Run(string(c.arch), func(t *testing.T) {
			image := c.library(t, "-Wl,-soname,libtest.so.1")
			l := parseLibrary(t, image, nil)
			if l.Name != "lib.so" || l.Arch != c.arch || l.SONAME != "libtest.so.1" ||
				!l.Livepatchable || !l.Complete {
				t.Errorf("library is %q, %q, SONAME %q, livepatchable %t, complete %t", l.Name,
					l.Arch, l.SONAME, l.Livepatchable, l.Complete)
			}
			if !slices.Contains(l.Needed, "libc.so.6") ||
				!slices.Contains(l.Needs, symtab.Need{File: "libc.so.6", Version: want[c.arch]}) {
				t.Errorf("needed: %q, needs: %v, want %s of libc.so.6", l.Needed, l.Needs,
					want[c.arch])
			}
			notes := run(t, "readelf", "-n", writeFile(t, "lib.so", image))
			if id := fmt.Sprintf("Build ID: %x\n", l.BuildID); len(l.BuildID) != 20 ||
				!strings.Contains(notes, id) {
				t.Errorf("%s is not what readelf says:\n%s", id, notes)
			}
		})
	}
}

func TestWritable(t *testing.T) {
	want := map[string]bool{"data": true, "private_data": true, "tls": true, "constant": false,
		"relocated": false, "exported": false, "absent": false}
	for _, c := range toolchains {
		for _, s := range lookup(t, parseLibrary(t, c.library(t, "-Wl,-z,relro"), nil), want) {
			if s.Writable != want[s.Name] {
				t.Errorf("%s: %s is writable: %t", c.arch, s.Name, s.Writable)
			}
		}
	}
}

// lookup returns the symbols that have the names, which must exist.
func lookup(t *testing.T, l *symtab.Library, names map[string]bool) (list []symtab.Symbol) {
	t.Helper()
	for name := range names {
		found := l.LookupAll(name)
		if len(found) == 0 {
			t.Errorf("%s has no symbol %s", l.Arch, name)
		}
		list = append(list, found...)
	}
	return list
}

func TestLookup(t *testing.T) {
	image := x86.library(t, "-DVERSIONS", "-Wl,--version-script=testdata/library.map")
	l := parseLibrary(t, image, nil)
	s, ok := l.Lookup("exported")
	if !ok || !s.Dynamic || !s.Default || s.Version != "LIB_1" || s.Type() != elf.STT_FUNC ||
		s.Bind() != elf.STB_GLOBAL {
		t.Errorf("Lookup(exported): %+v, %t", s, ok)
	}
	if s, ok := l.Lookup("absent"); ok {
		t.Errorf("an undefined symbol was found: %+v", s)
	}
	if s, ok := l.Lookup("no such symbol"); ok || l.LookupAll("no such symbol") != nil {
		t.Errorf("found %+v", s)
	}
	if s := l.LookupAll("absent"); len(s) != 2 || !s[0].Undefined || !s[0].Dynamic || s[1].Dynamic {
		t.Errorf("LookupAll(absent): %+v", s)
	}
	var versions []string
	for _, s := range l.LookupAll("versioned") {
		versions = append(versions, fmt.Sprint(s.Version, s.Default))
	}
	slices.Sort(versions)
	if d := cmp.Diff([]string{"LIB_1false", "LIB_2true"}, versions); d != "" {
		t.Errorf("versions of one name (-want +got):\n%s", d)
	}
}

// Every symbol is found, and the first of several of one name is the first in the order of Symbols.
func TestLookupAgreesWithSymbols(t *testing.T) {
	l, err := symtab.OpenLibrary(hostLibc, symtab.LibraryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]symtab.Symbol)
	for s := range l.Symbols() {
		all[s.Name] = append(all[s.Name], s)
	}
	for name, want := range all {
		if got := l.LookupAll(name); !slices.Equal(got, want) {
			t.Errorf("LookupAll(%s): %+v, want %+v", name, got, want)
		}
	}
}

func TestDebuginfo(t *testing.T) {
	for _, c := range toolchains {
		t.Run(string(c.arch), func(t *testing.T) {
			whole := c.library(t)
			stripped, debug := c.strip(t, whole)
			if _, ok := parseLibrary(t, stripped, nil).Lookup("hidden"); ok {
				t.Fatal("the stripped library still has its static functions")
			}
			want := slices.Collect(parseLibrary(t, whole, nil).Symbols())
			got := slices.Collect(parseLibrary(t, stripped, debug).Symbols())
			// strip leaves out the mapping symbols of aarch64; all others have all their facts.
			sameNames := cmpopts.IgnoreSliceElements(func(s symtab.Symbol) bool {
				return strings.HasPrefix(s.Name, "$")
			})
			if d := cmp.Diff(want, got, sameNames); d != "" {
				t.Errorf("symbols of the whole library and of both parts (-whole +parts):\n%s", d)
			}
		})
	}
}

func TestDebuginfoOfAnotherBuild(t *testing.T) {
	_, debug := x86.strip(t, x86.library(t, "-DIFUNC"))
	l, err := symtab.ParseLibrary(x86.library(t), debug, "lib.so")
	mismatch, ok := errors.AsType[*symtab.BuildIDError](err)
	if l != nil || !ok || len(mismatch.Library) != 20 || len(mismatch.Debuginfo) != 20 {
		t.Errorf("ParseLibrary: %v, %v", l, err)
	}
	if want := fmt.Sprintf("debuginfo is for build-id %x",
		mismatch.Debuginfo); !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want %q", err, want)
	}
	_, debug = x86.strip(t, x86.library(t, "-Wl,--build-id=none"))
	if l, err = symtab.ParseLibrary(x86.library(t, "-Wl,--build-id=none"), debug,
		"lib.so"); l != nil || !errors.As(err, &mismatch) ||
		!strings.Contains(err.Error(), "library (build-id none)") {
		t.Errorf("without build-ids: %v, %v", l, err)
	}
	if l, err = symtab.ParseLibrary(x86.library(t), debug[:100], "lib.so"); l != nil ||
		!isFormatError(err) {
		t.Errorf("truncated debuginfo: %v, %v", l, err)
	}
	stripped, _ := x86.strip(t, x86.library(t))
	if l, err = symtab.ParseLibrary(stripped, stripped, "lib.so"); l != nil || !isFormatError(err) {
		t.Errorf("the library itself as debuginfo: %v, %v", l, err)
	}
}

func isFormatError(err error) bool {
	_, ok := errors.AsType[*symtab.FormatError](err)
	return ok
}

func TestOpenLibrary(t *testing.T) {
	stripped, debug := x86.strip(t, x86.library(t))
	path, debugPath := writeFile(t, "libtest.so.1", stripped), writeFile(t, "libtest.debug", debug)
	l, err := symtab.OpenLibrary(path, symtab.LibraryOptions{Debug: debugPath})
	if err != nil || l.Name != "libtest.so.1" {
		t.Fatalf("OpenLibrary: %+v, %v", l, err)
	}
	if _, ok := l.Lookup("hidden"); !ok {
		t.Error("the debuginfo was not read")
	}
	catalogue := writeFile(t, "anything.json", l.AppendCatalogue(nil))
	if l, err = symtab.OpenLibrary(catalogue, symtab.LibraryOptions{}); err != nil ||
		l.Name != "libtest.so.1" {
		t.Errorf("OpenLibrary of a catalogue: %+v, %v", l, err)
	}
	for _, p := range []string{path, catalogue} {
		if l, err = symtab.OpenLibrary(p, symtab.LibraryOptions{Name: "other"}); err != nil ||
			l.Name != "other" {
			t.Errorf("OpenLibrary with a name: %+v, %v", l, err)
		}
	}
}

// Whether a library is read from memory or by parts from its file makes no difference.
func TestOpenLibraryIsParseLibrary(t *testing.T) {
	images := map[string][]byte{"large": largeLibrary(t), "libc": readFile(t, hostLibc),
		"versions": x86.library(t, "-DVERSIONS", "-DIFUNC",
			"-Wl,--version-script=testdata/library.map")}
	for _, c := range toolchains {
		images[string(c.arch)] = c.library(t)
	}
	for name, image := range images {
		want := parseLibrary(t, image, nil)
		got, err := symtab.OpenLibrary(writeFile(t, "lib.so", image), symtab.LibraryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, sameLibrary); d != "" {
			t.Errorf("%s (-in memory +file):\n%s", name, d)
		}
	}
}

// A library can be asked by many at once, also while what is made on demand is being made.
func TestLibraryManyAsk(t *testing.T) {
	l := parseLibrary(t, largeLibrary(t), nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 30 {
				if _, ok := l.Lookup(fmt.Sprintf("_large_symbol_%d", i)); !ok {
					t.Errorf("%d is not found", i)
				}
			}
			if n := len(slices.Collect(l.Symbols())); n != l.Len() {
				t.Errorf("%d symbols, want %d", n, l.Len())
			}
		})
	}
	all.Wait()
}

func TestOpenLibraryErrors(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	run(t, "mkfifo", fifo)
	good := writeFile(t, "lib.so", x86.library(t))
	catalogue := writeFile(t, "lib.json", parseLibrary(t, x86.library(t), nil).AppendCatalogue(nil))
	tests := map[string]struct {
		path, debug string
		want        error  // that err wraps
		text        string // that err has
	}{
		"absent":           {path: dir + "/absent", want: os.ErrNotExist},
		"absent debuginfo": {path: good, debug: dir + "/absent", want: os.ErrNotExist},
		"directory":        {path: dir, text: "not a regular file"},
		"FIFO":             {path: fifo, text: "not a regular file"},
		"neither": {path: writeFile(t, "lib.txt", []byte("text")),
			text: "lib.txt: neither ELF nor a catalogue"},
		"truncated": {path: writeFile(t, "lib.so", x86.library(t)[:1000]),
			text: "section table"},
		"catalogue and debuginfo": {path: catalogue, debug: good, want: symtab.ErrUnsupported},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := symtab.OpenLibrary(tc.path, symtab.LibraryOptions{Debug: tc.debug})
			if l != nil || err == nil || tc.want != nil && !errors.Is(err, tc.want) ||
				!strings.Contains(err.Error(), tc.text) {
				t.Errorf("OpenLibrary: %v, %v", l, err)
			}
		})
	}
}

// TestSymbolRoles: what a table's row means for whatever is loaded beside the library.
func TestSymbolRoles(t *testing.T) {
	bind := func(b elf.SymBind) byte { return byte(b) << 4 }
	for name, tc := range map[string]struct {
		symbol             symtab.Symbol
		exported, required bool
	}{
		"global":         {symtab.Symbol{Dynamic: true, Info: bind(elf.STB_GLOBAL)}, true, false},
		"weak":           {symtab.Symbol{Dynamic: true, Info: bind(elf.STB_WEAK)}, true, false},
		"local":          {symtab.Symbol{Dynamic: true, Info: bind(elf.STB_LOCAL)}, false, false},
		"not in .dynsym": {symtab.Symbol{Info: bind(elf.STB_GLOBAL)}, false, false},
		"needed": {symtab.Symbol{Dynamic: true, Undefined: true,
			Info: bind(elf.STB_GLOBAL)}, false, true},
		"needed, if any": {symtab.Symbol{Dynamic: true, Undefined: true, Info: bind(elf.STB_WEAK)},
			false, false},
		"of the linker's": {symtab.Symbol{Undefined: true, Info: bind(elf.STB_GLOBAL)}, false,
			false},
	} {
		if tc.symbol.IsExported() != tc.exported || tc.symbol.IsRequired() != tc.required {
			t.Errorf("%s: exported %t, required %t", name, tc.symbol.IsExported(),
				tc.symbol.IsRequired())
		}
	}
}
