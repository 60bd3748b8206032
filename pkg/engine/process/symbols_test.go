package process_test

import (
	"debug/elf"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// symbols opens the symbols of a library in a new target, and returns the address at which dlsym
// found "value".
func symbols(t *testing.T, lib string) (*rtld.Symbols, uint64) {
	t.Helper()
	target := start(t, "dlopen", lib, "value")
	m := memory(t, target.pid)
	s, err := m.Symbols(t.Context(), find(t, m, "libtest.so.1"))
	if err != nil {
		t.Fatal(err)
	}
	return s, uint64(target.word)
}

// find returns the library with a SONAME.
func find(t testing.TB, m *process.Memory, soname string) *rtld.Library {
	t.Helper()
	list, err := m.Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(l *rtld.Library) bool { return l.SONAME == soname })
	if i < 0 {
		t.Fatalf("no %s in %d libraries", soname, len(list))
	}
	return list[i]
}

func TestSymbols(t *testing.T) {
	for _, style := range []string{"gnu", "sysv", "both"} {
		t.Run(style, func(t *testing.T) {
			s, addr := symbols(t, library(t, idA, "-Wl,--no-as-needed", "-Wl,--hash-style="+style))
			got, err := s.Lookup(t.Context(), "value", "")
			want := rtld.Symbol{Name: "value", Type: elf.STT_FUNC, Bind: elf.STB_GLOBAL, Addr: addr}
			if d := cmp.Diff(want, got, cmpopts.IgnoreFields(rtld.Symbol{}, "Size")); err != nil ||
				d != "" || got.Size == 0 {
				t.Errorf("Lookup(value): %v, size %d (-want +got):\n%s", err, got.Size, d)
			}
			for _, name := range []string{"nothing", "", "valu", "value2", "strlen"} {
				if sym, err := s.Lookup(t.Context(), name, ""); !errors.Is(err, ulp.ErrNoSymbol) {
					t.Errorf("Lookup(%q): %v, %v, want ErrNoSymbol", name, sym, err)
				}
			}
			if l, err := s.Lookup(t.Context(), "local", ""); err != nil || l.Type != elf.STT_TLS ||
				l.Addr != 0 {
				t.Errorf("Lookup(local): %+v, %v", l, err)
			}
			several, err := s.LookupAll(t.Context(), "value", "nothing", "counter")
			if d := cmp.Diff([]string{"counter", "value"},
				slices.Sorted(maps.Keys(several))); err != nil || d != "" ||
				several["value"] != got {
				t.Errorf("LookupAll: %v, %v (-want +got):\n%s", several, err, d)
			}
			var names []string
			for sym, err := range s.All(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, sym.Name)
			}
			slices.Sort(names)
			if d := cmp.Diff([]string{"counter", "indirect", "local", "value", "value_new",
				"value_old"}, names); d != "" {
				t.Errorf("All (-want +got):\n%s", d)
			}
			if needed, err := s.Needed(t.Context()); err != nil ||
				!slices.Contains(needed, "libc.so.6") {
				t.Errorf("Needed: %v, %v", needed, err)
			}
		})
	}
}

func TestSymbolVersions(t *testing.T) {
	s, _ := symbols(t, library(t, idA, "-DVERSIONS", "-Wl,--version-script=testdata/library.map"))
	tests := map[string]struct {
		version string
		want    rtld.Symbol
	}{
		"default": {"", rtld.Symbol{Name: "versioned", Version: "V2"}},
		"new":     {"V2", rtld.Symbol{Name: "versioned", Version: "V2"}},
		"old":     {"V1", rtld.Symbol{Name: "versioned", Version: "V1", Hidden: true}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := s.Lookup(t.Context(), "versioned", tc.version)
			if d := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(rtld.Symbol{}, "Type", "Bind",
				"Addr", "Size")); d != "" || err != nil {
				t.Errorf("Lookup: %v (-want +got):\n%s", err, d)
			}
		})
	}
	if _, err := s.Lookup(t.Context(), "versioned", "V3"); !errors.Is(err, ulp.ErrNoSymbol) {
		t.Errorf("Lookup of a version that there is not: %v", err)
	}
}

// Every function that the file of libc exports is found where libc has it.
func TestSymbolsOfLibc(t *testing.T) {
	m := memory(t, start(t).pid)
	l := find(t, m, "libc.so.6")
	s, err := m.Symbols(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(l.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, sym := range file {
		if sym.Section == elf.SHN_UNDEF || sym.Section == elf.SHN_ABS ||
			elf.ST_TYPE(sym.Info) == elf.STT_TLS {
			continue
		}
		got, err := s.Lookup(t.Context(), sym.Name, sym.Version)
		if err != nil || got.Addr != sym.Value+l.Bias || got.Size != sym.Size ||
			got.Hidden != sym.VersionIndex.IsHidden() {
			t.Fatalf("Lookup(%s@%s): %+v, %v, want address %#x", sym.Name, sym.Version, got, err,
				sym.Value+l.Bias)
		}
		count++
	}
	all := 0
	for sym, err := range s.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if sym.Type != elf.STT_TLS {
			all++
		}
	}
	if all != count || count < 1000 {
		t.Errorf("All: %d symbols, Lookup %d", all, count)
	}
}

func TestSymbols32Bits(t *testing.T) {
	m := memory(t, start(t).pid)
	if _, err := m.Symbols(t.Context(), &rtld.Library{Class: elf.ELFCLASS32}); !errors.Is(err,
		symtab.ErrUnsupported) {
		t.Errorf("Symbols: %v, want ErrUnsupported", err)
	}
	if _, err := m.Symbols(t.Context(), &rtld.Library{Class: elf.ELFCLASS64}); !errors.Is(err,
		process.ErrMalformed) {
		t.Errorf("Symbols: %v, want ErrMalformed", err)
	}
}
