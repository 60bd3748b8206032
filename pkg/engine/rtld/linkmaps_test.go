package rtld

import (
	"context"
	"debug/elf"
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
)

// forgedProcess is a process that has one library, of any content.
type forgedProcess struct{ forged.Memory }

func (p forgedProcess) ReadAt(_ context.Context, b []byte, addr uint64) (int, error) {
	return p.Memory.ReadAt(b, addr)
}

func (p forgedProcess) MappingAt(context.Context, uint64) (Mapping, bool, error) {
	return Mapping{}, false, ErrMalformed
}

func (p forgedProcess) Libraries(context.Context) ([]*Library, error) { return nil, ErrMalformed }

func (p forgedProcess) Symbols(ctx context.Context, l *Library) (*Symbols, error) {
	return OpenSymbols(ctx, Direct(p.Memory), l)
}

// forgedMaps returns the link maps of a process that has nothing but a forged library; nil if it is
// not taken for a library.
func forgedMaps(t testing.TB, image []byte) (*LinkMaps, *Library) {
	t.Helper()
	mem, list, err := fakeLibraries(t, image)
	if err != nil || len(list) != 1 {
		return nil, nil
	}
	m := NewLinkMaps(forgedProcess{mem}, list, nil)
	m.spaces = []Namespace{{{Library: list[0]}}}
	return m, list[0]
}

// Places in a forged library with relocations. The first symbol, "trigger", is at forged.Text.
const (
	forgeRela = 0xf00
	forgeSlot = 0x700
	forgeTo   = forged.Base + forged.Text + 0x40 // where the slot leads
)

// relocated returns the changes for one relocation.
func relocated(kind elf.R_X86_64, more ...forged.Change) []forged.Change {
	return append([]forged.Change{
		{forged.Dynamic + 16*9, 8, uint64(elf.DT_RELA)}, forged.Dyn(9, forgeRela),
		{forged.Dynamic + 16*10, 8, uint64(elf.DT_RELASZ)}, forged.Dyn(10, relaSize),
		{forgeRela, 8, forgeSlot}, {forgeRela + 8, 8, uint64(kind) | 1<<32},
		{forgeRela + 16, 8, forged.Text},
		{forgeSlot, 8, forgeTo},
	}, more...)
}

// indirect is the forged library's indirect function.
func indirect(l *Library) Binding {
	return Binding{l, Symbol{Name: "f", Addr: forged.Base + forged.Text, Type: elf.STT_GNU_IFUNC}}
}

// TestForgedRelocations reads what the fuzz target begins with as what it is.
func TestForgedRelocations(t *testing.T) {
	m, l := forgedMaps(t, forged.Library(relocated(elf.R_X86_64_IRELATIVE)...))
	if at, err := m.Implementation(t.Context(), indirect(l)); err != nil || at != forgeTo {
		t.Errorf("an indirect function is at %#x, %v", at, err)
	}
	m, l = forgedMaps(t, forged.Library(relocated(elf.R_X86_64_GLOB_DAT)...))
	if at, err := m.Variable(t.Context(), l, forged.Base+forged.Text); err != nil || at != forgeTo {
		t.Errorf("a variable is at %#x, %v", at, err)
	}
}

// TestSeveralNames: a variable that has two names which lead to different places is in neither of
// them for sure, whatever is looked at first.
func TestSeveralNames(t *testing.T) {
	for _, to := range []uint64{forgeTo, forgeTo + 8} {
		for range 100 {
			m, l := forgedMaps(t, forged.Library(relocated(elf.R_X86_64_GLOB_DAT,
				forged.Dyn(10, 2*relaSize),
				// another slot, of another name
				forged.Change{forgeRela + relaSize, 8, forgeSlot + 8},
				forged.Change{forgeRela + relaSize + 8, 8, uint64(elf.R_X86_64_GLOB_DAT) | 2<<32},
				forged.Change{forged.Symtab + 2*symbolSize + 8, 8, forged.Text},
				forged.Change{forgeSlot + 8, 8, to})...))
			at, err := m.Variable(t.Context(), l, forged.Base+forged.Text)
			switch same := to == forgeTo; {
			case same && (at != to || err != nil), !same && !errors.Is(err, ErrUnresolved):
				t.Fatalf("a name leads to %#x: %#x, %v", to, at, err)
			}
		}
	}
}

// FuzzRelocations takes any memory for a library. Whatever is found lies in it.
func FuzzRelocations(f *testing.F) {
	f.Add(forged.Library(relocated(elf.R_X86_64_IRELATIVE)...))
	f.Add(forged.Library(relocated(elf.R_X86_64_GLOB_DAT)...))
	f.Fuzz(func(t *testing.T, image []byte) {
		if len(image) == 0 || len(image) > 1<<16 {
			return
		}
		m, l := forgedMaps(t, image)
		if m == nil {
			return
		}
		if at, err := m.Implementation(t.Context(), indirect(l)); err == nil && !l.Executable(at) {
			t.Errorf("an indirect function at %#x", at)
		}
		if at, err := m.Variable(t.Context(), l, forged.Base+forged.Text); err == nil &&
			!l.Contains(at, 1) {
			t.Errorf("a variable at %#x", at)
		}
	})
}

// TestMovesAbsolute: a dynamic loader before glibc 2.28 moves symbols that are no addresses with
// the library, as others do.
func TestMovesAbsolute(t *testing.T) {
	version := func(name string) []forged.Change { // defined instead of V1
		at := uint64(len(forged.Strings))
		changes := []forged.Change{forged.Dyn(2, at+16), {forged.Verdef + 20, 4, at}}
		for i, c := range []byte(name) {
			changes = append(changes, forged.Change{forged.Strtab + at + uint64(i), 1, uint64(c)})
		}
		return changes
	}
	for name, tc := range map[string]struct {
		soname, version string
		want            bool
	}{
		"glibc 2.28":      {libcName, "GLIBC_2.28", false},
		"an old one":      {libcName, "GLIBC_2.27", true},
		"another library": {"libother.so", "GLIBC_2.28", true},
	} {
		m, l := forgedMaps(t, forged.Library(version(tc.version)...))
		l.SONAME = tc.soname
		if moved, err := m.MovesAbsolute(t.Context()); moved != tc.want || err != nil {
			t.Errorf("%s: %t, %v", name, moved, err)
		}
	}
}
