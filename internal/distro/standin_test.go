package distro

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// at returns n bytes of a loaded section at an address.
func at(t *testing.T, f *elf.File, address uint64, n int) []byte {
	t.Helper()
	for _, s := range f.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Addr <= address && address+uint64(n) <= s.Addr+s.Size {
			data := make([]byte, n)
			if _, err := s.ReadAt(data, int64(address-s.Addr)); err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatalf("nothing at %#x", address)
	return nil
}

// function returns the address of an exported function, without the bit and the offset that some
// architectures add.
func function(t *testing.T, f *elf.File, name string) uint64 {
	t.Helper()
	symbols, err := f.DynamicSymbols()
	i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == name })
	if err != nil || i < 0 {
		t.Fatalf("no %s: %v", name, err)
	}
	return symbols[i].Value
}

func TestPatchableFunctions(t *testing.T) {
	ppc := Build{Name: "glibc", Version: "2.38", Release: "1", Arch: "ppc64le"}
	arm := Build{Name: "glibc", Version: "2.31", Release: "1", Arch: "aarch64"}
	x86 := func(n int) string { return strings.Repeat("90", n) }
	tests := map[string]struct {
		build         Build
		before, after string // hexadecimal
		none          string // how getcontext, the function without NOPs, must not begin
	}{
		"x86_64":            {old, x86(14), x86(2), x86(2)},
		"x86_64, endbr64":   {young, x86(14), "f30f1efa" + x86(2), "f30f1efa9090"},
		"ppc64le":           {ppc, strings.Repeat("00000060", 13), "00000060", "00000060"},
		"aarch64":           {arm, strings.Repeat("1f2003d5", 13), "1f2003d5", "1f2003d5"},
		"i686, a bystander": {bystanders()[1], x86(14), x86(2), x86(2)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rpm, _ := rpmOf(t, tc.build)
			b, _ := tc.build.normal()
			f, err := elf.Open(unpack(t, rpm) + "/" + targets[b.Arch].lib + "/libc.so.6")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			malloc := function(t, f, "malloc")
			before, after := len(tc.before)/2, len(tc.after)/2
			if got := hexOf(at(t, f, malloc-uint64(before), before+after)); got != tc.before+
				tc.after {
				t.Errorf("malloc has %s around its symbol, want %s and %s", got, tc.before,
					tc.after)
			}
			if got := hexOf(at(t, f, function(t, f, "getcontext"),
				len(tc.none)/2)); got == tc.none {
				t.Errorf("getcontext has NOPs: %s", got)
			}
			if s := f.Section("__patchable_function_entries"); s == nil || s.Size < 100*8/2 {
				t.Errorf("__patchable_function_entries: %+v", s)
			}
		})
	}
}

func TestUnpatchableAndWithoutDebuginfo(t *testing.T) {
	b := old
	b.Unpatchable, b.NoDebuginfo = true, true
	rpm, debuginfo := rpmOf(t, b)
	if debuginfo != "" {
		t.Errorf("debuginfo: %s", debuginfo)
	}
	f, err := elf.Open(unpack(t, rpm) + "/lib64/libc.so.6")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s := f.Section("__patchable_function_entries"); s != nil {
		t.Errorf("an unpatchable library has %+v", s)
	}
}

// TestEveryPromiseOfTheVersionScripts finds names in libc.versions that no source defines: ld does
// not report them.
func TestEveryPromiseOfTheVersionScripts(t *testing.T) {
	for _, b := range []Build{old, young, {Name: "glibc", Version: "2.38", Release: "1",
		Arch: "ppc64le"}} {
		b, _ := b.normal()
		rpm, _ := rpmOf(t, b)
		dir := unpack(t, rpm)
		for _, l := range libraries(b) {
			have := lines(dynamicSymbols(t, dir+l.Path))
			nodes, err := versionNodes(l.Script, b.minor(), b.Arch)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range nodes {
				for _, name := range n.names {
					if !slices.ContainsFunc([]string{"T ", "i ", "B ", "D ", "R ", "V "},
						func(typ string) bool {
							return have[typ+name+"@@GLIBC_"+n.version] ||
								have[typ+name+"@GLIBC_"+n.version]
						}) {
						t.Errorf("%s: %s has no %s@@GLIBC_%s", b, l.Path, name, n.version)
					}
				}
			}
		}
	}
}

func TestVariantMovesAndReleaseDoesNot(t *testing.T) {
	variant, release := old, old
	variant.Variant++
	release.Release = "150300.26.5.1"
	place := func(b Build) (id string, addresses []uint64) {
		rpm, _ := rpmOf(t, b)
		f, err := elf.Open(unpack(t, rpm) + "/lib64/libc.so.6")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return buildID(t, f), []uint64{function(t, f, "printf"), function(t, f, "stdout"),
			function(t, f, "errno")}
	}
	id, addresses := place(old)
	variantID, variantAddresses := place(variant)
	releaseID, releaseAddresses := place(release)
	if id == variantID || id == releaseID || variantID == releaseID {
		t.Errorf("build-ids are not unique: %s, %s, %s", id, variantID, releaseID)
	}
	for i := range addresses {
		if addresses[i] == variantAddresses[i] {
			t.Errorf("symbol %d is at %#x in both variants", i, addresses[i])
		}
	}
	if d := cmp.Diff(addresses, releaseAddresses); d != "" {
		t.Errorf("a rebuild moved symbols (-before +after):\n%s", d)
	}
}

// TestContainersFindTheirSymbols links a shared object as live patches are linked, against this
// machine's C library, and looks for the symbols that it needs in the stand-ins.
func TestContainersFindTheirSymbols(t *testing.T) {
	dir := t.TempDir()
	source := `#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static __thread int calls __attribute__ ((tls_model ("global-dynamic")));
void *malloc_lp (size_t n) {
  char text[64], *p = calloc (1, n + 1);
  pthread_mutex_lock (&m);
  snprintf (text, sizeof text, "%zu %d", n, calls++);
  memcpy (p, text, n < strlen (text) ? n : strlen (text));
  pthread_mutex_unlock (&m);
  if (errno != 0) { puts (text); fprintf (stderr, "%s", text); syslog (1, "%s", text); abort (); }
  free (p);
  return realloc (NULL, n);
}`
	if err := os.WriteFile(dir+"/lp.c", []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, dir, "gcc", "-O1", "-fPIC", "-shared", "-fno-builtin", "-fstack-protector-all", "-o",
		"lp.so", "lp.c")
	f, err := elf.Open(dir + "/lp.so")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	needed, err := f.ImportedSymbols()
	if err != nil || len(needed) < 15 {
		t.Fatalf("only %d symbols are needed: %v", len(needed), err)
	}
	for _, b := range StandardBuilds(4) {
		rpm, _ := rpmOf(t, b)
		exported := ""
		libs, _ := filepath.Glob(unpack(t, rpm) + "/lib64/*.so.*")
		for _, lib := range libs {
			exported += strings.ReplaceAll(dynamicSymbols(t, lib), "@@", "@")
		}
		for _, s := range needed {
			if s.Version != "" && !strings.Contains(exported, " "+s.Name+"@"+s.Version+"\n") {
				t.Errorf("%s has no %s@%s", b, s.Name, s.Version)
			}
		}
	}
}

func TestPadding(t *testing.T) {
	b := old
	b.Padding = 3 << 20
	_, debuginfo := rpmOf(t, b)
	dir := unpack(t, debuginfo)
	got, err := os.ReadFile(dir + "/usr/lib/debug/padding")
	var want bytes.Buffer
	if writeErr := writePadding(dir+"/again", b.Padding); writeErr != nil {
		t.Fatal(writeErr)
	}
	again, _ := os.ReadFile(dir + "/again")
	want.Write(again)
	info, statErr := os.Stat(debuginfo)
	if err != nil || statErr != nil || !bytes.Equal(got, want.Bytes()) {
		t.Fatalf("padding of %d bytes, want %d (%v, %v)", len(got), want.Len(), err, statErr)
	}
	if info.Size() < b.Padding/4 || info.Size() > b.Padding*2/3 {
		t.Errorf("%d bytes compress to %d", b.Padding, info.Size())
	}
}
