package ulp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// Of the size of a libc with all its symbols.
const (
	largeSymbols = 9000
	largeBody    = 220 // bytes of each function
)

// largeLibrary returns a patchable library of 2.3 MB with 9,000 named symbols in .symtab, a third of them in .dynsym.
func largeLibrary(t testing.TB) []byte {
	t.Helper()
	var text, entries strings.Builder
	for i := range largeSymbols {
		name := fmt.Sprintf("__library_function_%d", i)
		if i%3 == 0 {
			fmt.Fprintf(&text, "\t.globl %s\n", name)
		}
		fmt.Fprintf(&text, "\t.p2align 4\n\t.fill 14, 1, 0x90\n\t.type %[1]s,@function\n%[1]s:\n\t.fill 2, 1, 0x90\n\t.fill %[2]d, 1, 0xc3\n\t.size %[1]s,.-%[1]s\n",
			name, largeBody)
		fmt.Fprintf(&entries, "\t.8byte %s-14\n", name)
	}
	return x86.build(t, "\t.text\n"+text.String()+"\t.section __patchable_function_entries,\"aw\",@progbits\n"+entries.String(), "-nostdlib", "-Wl,-Bsymbolic")
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
		if s, ok := l.Lookup("__library_function_8999"); !ok || !s.Patchable {
			t.Errorf("Lookup: %+v, %t", s, ok)
		}
	}); n > 2 {
		t.Errorf("Lookup: %v allocations", n)
	}
	catalogue := l.AppendCatalogue(nil)
	if n := testing.AllocsPerRun(10, func() { _, _ = ulp.ParseCatalogue(catalogue) }); n > 60 {
		t.Errorf("ParseCatalogue: %v allocations", n)
	}
}

func BenchmarkParseLibrary(b *testing.B) {
	for name, image := range map[string][]byte{"libc": readFile(b, hostLibc), "large": largeLibrary(b)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(image)))
			for b.Loop() {
				parseLibrary(b, image, nil)
			}
		})
	}
}

func BenchmarkOpenLibrary(b *testing.B) {
	path := writeFile(b, "large.so", largeLibrary(b))
	for b.Loop() {
		if _, err := ulp.OpenLibrary(path, ulp.LibraryOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadelf is what BenchmarkOpenLibrary is measured against.
func BenchmarkReadelf(b *testing.B) {
	path := writeFile(b, "large.so", largeLibrary(b))
	for b.Loop() {
		run(b, "readelf", "-sW", path)
	}
}

func BenchmarkParseCatalogue(b *testing.B) {
	for name, image := range map[string][]byte{"libc": readFile(b, hostLibc), "large": largeLibrary(b)} {
		text := parseLibrary(b, image, nil).AppendCatalogue(nil)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := ulp.ParseCatalogue(text); err != nil {
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
	l.Lookup("__library_function_4500")
	first := time.Since(start)
	for b.Loop() {
		if _, ok := l.Lookup("__library_function_4500"); !ok {
			b.Fatal("not found")
		}
	}
	b.ReportMetric(float64(first.Nanoseconds()), "ns/first")
}

func BenchmarkEmbed(b *testing.B) {
	image := x86.library(b, "-g")
	sections := []ulp.Section{{Name: ".ulp", Data: make([]byte, 500)}, {Name: ".ulp.rev", Data: make([]byte, 71)}}
	for b.Loop() {
		if _, err := ulp.EmbedSections(image, sections...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkObjcopy is what BenchmarkEmbed is measured against: one of the runs that libpulp needs for each section.
func BenchmarkObjcopy(b *testing.B) {
	path, data := writeFile(b, "lib.so", x86.library(b, "-g")), writeFile(b, "data", make([]byte, 500))
	for b.Loop() {
		run(b, "objcopy", "--add-section", ".ulp="+data, path, path+".out")
	}
}
