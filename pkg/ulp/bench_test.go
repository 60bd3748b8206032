package ulp_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// compare runs ours and the tool in turn, and reports the median times and how many times as fast ours is.
func compare(b *testing.B, tool string, ours, theirs func()) {
	b.Helper()
	const runs = 25
	var times [2][]float64
	for b.Loop() {
		for range runs {
			for i, f := range []func(){ours, theirs} {
				start := time.Now()
				f()
				times[i] = append(times[i], float64(time.Since(start).Microseconds())/1000)
			}
		}
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	a, t := times[0][len(times[0])/2], times[1][len(times[1])/2]
	b.ReportMetric(a, "ours-ms")
	b.ReportMetric(t, tool+"-ms")
	b.ReportMetric(t/a, "ratio")
}

// BenchmarkReadSymbols reads the symbols of a library file, and has readelf print them.
func BenchmarkReadSymbols(b *testing.B) {
	path := writeFile(b, "large.so", largeLibrary(b))
	compare(b, "readelf", func() {
		l, err := ulp.OpenLibrary(path, ulp.LibraryOptions{})
		if err != nil || l.Len() < largeSymbols {
			b.Fatal(err)
		}
	}, func() { run(b, "readelf", "-sW", path) })
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

// BenchmarkPackFiles packs one container, from reading description, container and target to the file on disk, and has objcopy
// add three sections of that size, one by one as libpulp does. Neither waits for the disk.
func BenchmarkPackFiles(b *testing.B) {
	large := largeLibrary(b)
	container := writeFile(b, "p.so", sharedObject(b, map[string]string{"p.c": "int f_lp(void) { return 1; }"}))
	targets := map[string]string{
		"ELF":  writeFile(b, "large.so", large),
		"JSON": writeFile(b, "large.so.json", parseLibrary(b, large, nil).AppendCatalogue(nil)),
	}
	for name, target := range targets {
		b.Run(name, func(b *testing.B) {
			dsc := writeFile(b, "p.dsc", []byte("! bsc#1\np.so\n@"+target+"\n__library_function_4500:f_lp\n"))
			data := writeFile(b, "data", make([]byte, 200))
			compare(b, "objcopy", func() { packFile(b, dsc, container, target) }, func() { objcopyThrice(b, container, data) })
		})
	}
}

func packFile(b *testing.B, dsc, container, target string) {
	text := readFile(b, dsc)
	d, err := ulp.ParseDescription(dsc, text)
	if err != nil {
		b.Fatal(err)
	}
	lib, err := ulp.OpenLibrary(target, ulp.LibraryOptions{Name: filepath.Base(target)})
	if err != nil {
		b.Fatal(err)
	}
	image, err := ulp.Pack(d, text, parseContainer(b, readFile(b, container)), lib, ulp.PackOptions{})
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
		run(b, "objcopy", "--add-section", name+"="+data, in, out)
	}
}
