package ulp_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/benchtest"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// A library like a libc with all its symbols: 2.3 MB, 9,000 rows in its two symbol tables.
const (
	largeFunctions = 5000
	largeVariables = 1000
	largeExported  = 3000 // of both together: in .dynsym, with a version, and in .symtab
	largeSymbols   = largeFunctions + largeVariables + largeExported
	largeBody      = 325 // bytes of each function
)

// largeLibrary returns a patchable library of that kind.
func largeLibrary(t testing.TB) []byte {
	t.Helper()
	var text, entries, data strings.Builder
	for i := range largeFunctions + largeVariables {
		name := fmt.Sprintf("_large_symbol_%d", i)
		if i%2 == 0 {
			fmt.Fprintf(&text, "\t.globl %s\n", name)
		}
		if i%12 == 0 || i%12 == 5 {
			fmt.Fprintf(&data, "\t.type %[1]s,@object\n%[1]s:\t.8byte 1\n\t.size %[1]s,8\n", name)
			continue
		}
		fmt.Fprintf(&text, "\t.p2align 4\n\t.fill 14, 1, 0x90\n\t.type %[1]s,@function\n%[1]s:\n"+
			"\t.fill 2, 1, 0x90\n\t.fill %[2]d, 1, 0xc3\n\t.size %[1]s,.-%[1]s\n",
			name, largeBody)
		fmt.Fprintf(&entries, "\t.8byte %s-14\n", name)
	}
	return x86.build(t, "\t.text\n"+text.String()+"\t.data\n"+data.String()+
		"\t.section __patchable_function_entries,\"aw\",@progbits\n"+entries.String(),
		"-nostdlib", "-Wl,-Bsymbolic", "-Wl,--version-script=testdata/large.map")
}

func TestReadingAllocatesNothingPerSymbol(t *testing.T) {
	image := largeLibrary(t)
	if n := testing.AllocsPerRun(10, func() { parseLibrary(t, image, nil) }); n > 60 {
		t.Errorf("ParseLibrary: %v allocations", n)
	}
	l := parseLibrary(t, image, nil)
	if l.Len() < largeSymbols {
		t.Fatalf("%d symbols", l.Len())
	}
	if n := testing.AllocsPerRun(10, func() {
		for s := range l.Symbols() {
			if s.Value == 1 {
				t.Error(s)
			}
		}
	}); n > 2 {
		t.Errorf("Symbols: %v allocations", n)
	}
	if n := testing.AllocsPerRun(10, func() {
		if s, ok := l.Lookup("_large_symbol_5999"); !ok || !s.Patchable {
			t.Errorf("Lookup: %+v, %t", s, ok)
		}
	}); n > 2 {
		t.Errorf("Lookup: %v allocations", n)
	}
	catalogue := l.AppendCatalogue(nil)
	if n := testing.AllocsPerRun(10, func() { _, _ = symtab.ParseCatalogue(catalogue) }); n > 60 {
		t.Errorf("ParseCatalogue: %v allocations", n)
	}
}

func BenchmarkParseLibrary(b *testing.B) {
	for name, image := range map[string][]byte{"libc": readFile(b, hostLibc),
		"large": largeLibrary(b)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(image)))
			for b.Loop() {
				parseLibrary(b, image, nil)
			}
		})
	}
}

// BenchmarkProofs reads the host's libc, as download does, with proofs and without; "grown" is how
// much larger the catalogue becomes, in percent.
func BenchmarkProofs(b *testing.B) {
	var size [2]int
	for i, prove := range []bool{false, true} {
		b.Run(fmt.Sprintf("prove=%t", prove), func(b *testing.B) {
			for b.Loop() {
				l, err := symtab.OpenLibrary(hostLibc, symtab.LibraryOptions{Prove: prove})
				if err != nil {
					b.Fatal(err)
				}
				size[i] = len(l.AppendCatalogue(nil))
			}
			if size[0] > 0 {
				b.ReportMetric(float64(size[i]-size[0])*100/float64(size[0]), "%grown")
			}
		})
	}
}

// compare runs the ways in turn, some times each, as they are used: a build packs one container
// after the other. It reports the median time of each way, and how many times as long the tool
// takes.
func compare(b *testing.B, tool string, theirs func(), ours map[string]func()) {
	b.Helper()
	rounds, runs := benchtest.Size(10, 1), benchtest.Size(6, 1)
	times := make(map[string][]float64)
	measure := func(name string, f func()) {
		for range runs {
			start := time.Now()
			f()
			times[name] = append(times[name], float64(time.Since(start).Microseconds())/1000)
		}
	}
	for b.Loop() {
		for range rounds {
			for name, f := range ours {
				measure(name, f)
			}
			measure(tool, theirs)
		}
	}
	median := func(name string) float64 {
		slices.Sort(times[name])
		return times[name][len(times[name])/2]
	}
	b.ReportMetric(0, "ns/op") // of all together, which says nothing
	b.ReportMetric(median(tool), tool+"-ms")
	for name := range ours {
		b.ReportMetric(median(name), name+"-ms")
		b.ReportMetric(median(tool)/median(name), name+"-ratio")
	}
}

// execute runs a program without reading what it prints.
func execute(b *testing.B, name string, args ...string) {
	if err := exec.Command(name, args...).Run(); err != nil {
		b.Fatal(name, err)
	}
}

// BenchmarkReadSymbols reads the symbols of a library file, for looking some up ("open") or one and
// all ("all"), and has readelf print them.
func BenchmarkReadSymbols(b *testing.B) {
	path := writeFile(b, "large.so", largeLibrary(b))
	open := func() *symtab.Library {
		l, err := symtab.OpenLibrary(path, symtab.LibraryOptions{})
		if err != nil || l.Len() < largeSymbols {
			b.Fatal(err)
		}
		return l
	}
	compare(b, "readelf", func() { execute(b, "readelf", "-sW", path) }, map[string]func(){
		"open": func() { open() },
		"all": func() {
			n := 0
			for s := range open().Symbols() {
				if len(s.Name) > 0 {
					n++
				}
			}
			if n < largeSymbols {
				b.Fatal(n)
			}
		},
	})
}

func BenchmarkParseCatalogue(b *testing.B) {
	for name, image := range map[string][]byte{"libc": readFile(b, hostLibc),
		"large": largeLibrary(b)} {
		text := parseLibrary(b, image, nil).AppendCatalogue(nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := symtab.ParseCatalogue(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendCatalogue(b *testing.B) {
	l := parseLibrary(b, largeLibrary(b), nil)
	b.ReportAllocs()
	for b.Loop() {
		l.AppendCatalogue(nil)
	}
}

func BenchmarkLookup(b *testing.B) {
	l := parseLibrary(b, largeLibrary(b), nil)
	start := time.Now()
	l.Lookup("_large_symbol_4501")
	first := time.Since(start)
	for b.Loop() {
		if _, ok := l.Lookup("_large_symbol_4501"); !ok {
			b.Fatal("not found")
		}
	}
	b.ReportMetric(float64(first.Nanoseconds()), "ns/first")
}

// BenchmarkPackFiles packs one container, from reading description, container and target to the
// file on disk, and has objcopy add three sections of that size, one by one as libpulp does.
// Neither waits for the disk. "library" is a call in this process; "process" is the program lpbuild
// from its start to its end, as objcopy is.
func BenchmarkPackFiles(b *testing.B) {
	large := largeLibrary(b)
	container := writeFile(b, "p.so",
		sharedObject(b, map[string]string{"p.c": "int f_lp(void) { return 1; }"}))
	targets := map[string]string{
		"ELF":  writeFile(b, "large.so", large),
		"JSON": writeFile(b, "large.so.json", parseLibrary(b, large, nil).AppendCatalogue(nil)),
	}
	program := buildProgram(b)
	for name, target := range targets {
		b.Run(name, func(b *testing.B) {
			dsc := writeFile(b, "p.dsc", []byte("! bsc#1\n"+container+"\n@"+target+
				"\n_large_symbol_4501:f_lp\n"))
			data := writeFile(b, "data", make([]byte, 200))
			compare(b, "objcopy", func() { objcopyThrice(b, container, data) }, map[string]func(){
				"library": func() { packFile(b, dsc, container, target) },
				"process": func() {
					execute(b, program, "ulp", "packer", "-q", "-o", container+".packed", dsc)
				},
			})
		})
	}
}

// buildProgram returns the path of lpbuild, built as it is shipped.
func buildProgram(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "lpbuild")
	cmd := exec.Command("go", "build", "-trimpath", "-o", path,
		"github.com/lpbuild/lpbuild/cmd/lpbuild")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func packFile(b *testing.B, dsc, container, target string) {
	text := readFile(b, dsc)
	d, err := ulp.ParseDescription(dsc, text)
	if err != nil {
		b.Fatal(err)
	}
	lib, err := symtab.OpenLibrary(target, symtab.LibraryOptions{Name: filepath.Base(target)})
	if err != nil {
		b.Fatal(err)
	}
	image, err := ulp.Pack(d, text, parseContainer(b, readFile(b, container)), lib,
		ulp.PackOptions{})
	if err != nil {
		b.Fatal(err)
	}
	err = os.WriteFile(container+".new", image, 0o755)
	if err := errors.Join(err, os.Rename(container+".new", container+".packed")); err != nil {
		b.Fatal(err)
	}
}

func objcopyThrice(b *testing.B, container, data string) {
	out := container + ".objcopy"
	for i, name := range []string{".ulp", ".ulp.comments", ".ulp.rev"} {
		in := out
		if i == 0 {
			in = container
		}
		execute(b, "objcopy", "--add-section", name+"="+data, in, out)
	}
}
