package rtld

import (
	"debug/elf"
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// forgeVerneed is where a forged library that needs versions has them: of one file one version,
// "V1", whose number is 3. "state" has that number.
const forgeVerneed = 0xe80

func needs(more ...forged.Change) []forged.Change {
	return append([]forged.Change{
		{forged.Dynamic + 16*9, 8, uint64(elf.DT_VERNEED)}, forged.Dyn(9, forgeVerneed),
		{forged.Dynamic + 16*10, 8, uint64(elf.DT_VERNEEDNUM)}, forged.Dyn(10, 1),
		{forgeVerneed, 2, 1}, {forgeVerneed + 2, 2, 1}, {forgeVerneed + 4, 4, 1},
		{forgeVerneed + 8, 4, 16},
		{forgeVerneed + 16 + 6, 2, 3}, {forgeVerneed + 16 + 8, 4, 23},
		{forged.Versym + 4, 2, 3},
	}, more...)
}

// TestBind looks symbols up in forged libraries as the dynamic loader does to bind references. What
// it does with versions is compared with what the loader itself does by the tests of package
// native.
func TestBind(t *testing.T) {
	const row, size = forged.Symtab + 24*2, 16 // of "state"
	state := Reference{Name: "state"}
	v1, v2, entry := Reference{Name: "state", Version: "V1"},
		Reference{Name: "state", Version: "V2"}, Reference{Name: "state", Entry: true}
	tests := map[string]struct {
		changes []forged.Change
		ref     Reference
		want    error
	}{
		"plain":                     {nil, state, nil},
		"by a defined version":      {nil, v1, nil},
		"by another version":        {nil, v2, ulp.ErrNoSymbol},
		"by a needed version":       {needs(), v1, nil},
		"by another needed version": {needs(), v2, ulp.ErrNoSymbol},
		"by a number that nothing has": {[]forged.Change{{forged.Versym + 4, 2, 7}}, v1,
			nil},
		"by one that nothing has, with needs": {needs(forged.Change{forged.Versym + 4, 2, 7}), v1,
			nil},
		"needed versions elsewhere": {needs(forged.Dyn(9, forged.Size-8)), v1,
			ErrMalformed},
		"needed version elsewhere": {needs(forged.Change{forgeVerneed + 8, 4, 1 << 30}),
			v1, ErrMalformed},
		"next file elsewhere": {
			needs(forged.Dyn(10, 2), forged.Change{forgeVerneed + 12, 4, 1 << 30},
				forged.Change{forged.Versym + 4, 2, 7}), v1, ErrMalformed},
		"name of a version elsewhere": {
			needs(forged.Change{forgeVerneed + 16 + 8, 4, 1 << 30}), v1, ErrMalformed},
		"2^60 files": {needs(forged.Dyn(10, 1<<60)), v1, ErrLimit},
		"65,535 times the same needed version": {needs(forged.Change{forgeVerneed + 2, 2, 0xffff},
			forged.Change{forged.Versym + 4, 2, 7}), v1, ErrLimit},
		"versions outside": {[]forged.Change{forged.Dyn(6, forged.Size-4)}, state,
			ErrMalformed},
		"symbol table at the end": {[]forged.Change{forged.Dyn(3, forged.Size-48)}, state,
			ErrMalformed},
		"wherever it leads": {[]forged.Change{{row + 8, 8, 1 << 40}}, state, nil},
		"hidden": {[]forged.Change{{row + 5, 1, uint64(elf.STV_HIDDEN)}}, state,
			ulp.ErrNoSymbol},
		"local": {[]forged.Change{{row + 4, 1, uint64(elf.STT_FUNC)}}, state,
			ulp.ErrNoSymbol},
		"a section": {[]forged.Change{{row + 4, 1, 0x10 | uint64(elf.STT_SECTION)}},
			state, ulp.ErrNoSymbol},
		"at 0": {[]forged.Change{{row + 8, 8, 0}}, state, ulp.ErrNoSymbol},
		"thread-local, at 0": {[]forged.Change{{row + 8, 8, 0},
			{row + 4, 1, 0x10 | uint64(elf.STT_TLS)}}, state, nil},
		"undefined":                {[]forged.Change{{row + 6, 2, 0}}, state, ulp.ErrNoSymbol},
		"undefined, with an entry": {[]forged.Change{{row + 6, 2, 0}}, entry, nil},
		"undefined, without one": {[]forged.Change{{row + 6, 2, 0}, {row + 8, 8, 0}}, entry,
			ulp.ErrNoSymbol},
		"a number": {[]forged.Change{{row + 6, 2, uint64(elf.SHN_ABS)}, {row + 8, 8, 0}}, state,
			nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			image := forged.Library(tc.changes...)
			m, list, err := fakeLibraries(t, image)
			if err != nil {
				t.Fatal(err)
			}
			s, err := openSymbols(m, list[0])
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.bind(m, tc.ref)
			if !errors.Is(err, tc.want) || (err != nil) != (got == Symbol{}) {
				t.Fatalf("%+v, %v, want %v", got, err, tc.want)
			}
			if err != nil {
				return
			}
			want := le.Uint64(image[row+8:])
			if absolute := le.Uint16(image[row+6:]) == uint16(elf.SHN_ABS); got.Type !=
				elf.STT_TLS && !absolute {
				want += forged.Base
			}
			if got.Addr != want || got.Size != size || got.Undefined != tc.ref.Entry {
				t.Errorf("%+v, want address %#x", got, want)
			}
		})
	}
}

// TestDefines asks for versions of a forged library.
func TestDefines(t *testing.T) {
	m, list, err := fakeLibraries(t,
		forged.Library(needs(forged.Change{forgeVerneed + 16 + 8, 4, 17})...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSymbols(m, list[0])
	if err != nil || !s.Defines("V1") || s.Defines("V2") || s.Defines("state") {
		// that one it needs
		t.Errorf("%v", err)
	}
}
