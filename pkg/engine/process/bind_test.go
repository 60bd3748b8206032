package process

import (
	"debug/elf"
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// forgeVerneed is where a forged library that needs versions has them: of one file one version, "V1", whose number is 3. "state"
// has that number.
const forgeVerneed = 0xe80

func needs(more ...Change) []Change {
	return append([]Change{
		{forgeDynamic + 16*9, 8, uint64(elf.DT_VERNEED)}, dyn(9, forgeVerneed),
		{forgeDynamic + 16*10, 8, uint64(elf.DT_VERNEEDNUM)}, dyn(10, 1),
		{forgeVerneed, 2, 1}, {forgeVerneed + 2, 2, 1}, {forgeVerneed + 4, 4, 1}, {forgeVerneed + 8, 4, 16},
		{forgeVerneed + 16 + 6, 2, 3}, {forgeVerneed + 16 + 8, 4, 23},
		{forgeVersym + 4, 2, 3},
	}, more...)
}

// TestBind looks symbols up in forged libraries as the dynamic loader does to bind references. What it does with versions is
// compared with what the loader itself does by the tests of package native.
func TestBind(t *testing.T) {
	const row, size = forgeSymtab + 24*2, 16 // of "state"
	state := Reference{Name: "state"}
	v1, v2, entry := Reference{Name: "state", Version: "V1"}, Reference{Name: "state", Version: "V2"}, Reference{Name: "state", Entry: true}
	tests := map[string]struct {
		changes []Change
		ref     Reference
		want    error
	}{
		"plain":                                {nil, state, nil},
		"by a defined version":                 {nil, v1, nil},
		"by another version":                   {nil, v2, ulp.ErrNoSymbol},
		"by a needed version":                  {needs(), v1, nil},
		"by another needed version":            {needs(), v2, ulp.ErrNoSymbol},
		"by a number that nothing has":         {[]Change{{forgeVersym + 4, 2, 7}}, v1, nil},
		"by one that nothing has, with needs":  {needs(Change{forgeVersym + 4, 2, 7}), v1, nil},
		"needed versions elsewhere":            {needs(dyn(9, forgeSize-8)), v1, ErrMalformed},
		"needed version elsewhere":             {needs(Change{forgeVerneed + 8, 4, 1 << 30}), v1, ErrMalformed},
		"next file elsewhere":                  {needs(dyn(10, 2), Change{forgeVerneed + 12, 4, 1 << 30}, Change{forgeVersym + 4, 2, 7}), v1, ErrMalformed},
		"name of a version elsewhere":          {needs(Change{forgeVerneed + 16 + 8, 4, 1 << 30}), v1, ErrMalformed},
		"2^60 files":                           {needs(dyn(10, 1<<60)), v1, ErrLimit},
		"65,535 times the same needed version": {needs(Change{forgeVerneed + 2, 2, 0xffff}, Change{forgeVersym + 4, 2, 7}), v1, ErrLimit},
		"versions outside":                     {[]Change{dyn(6, forgeSize-4)}, state, ErrMalformed},
		"symbol table at the end":              {[]Change{dyn(3, forgeSize-48)}, state, ErrMalformed},
		"wherever it leads":                    {[]Change{{row + 8, 8, 1 << 40}}, state, nil},
		"hidden":                               {[]Change{{row + 5, 1, uint64(elf.STV_HIDDEN)}}, state, ulp.ErrNoSymbol},
		"local":                                {[]Change{{row + 4, 1, uint64(elf.STT_FUNC)}}, state, ulp.ErrNoSymbol},
		"a section":                            {[]Change{{row + 4, 1, 0x10 | uint64(elf.STT_SECTION)}}, state, ulp.ErrNoSymbol},
		"at 0":                                 {[]Change{{row + 8, 8, 0}}, state, ulp.ErrNoSymbol},
		"thread-local, at 0":                   {[]Change{{row + 8, 8, 0}, {row + 4, 1, 0x10 | uint64(elf.STT_TLS)}}, state, nil},
		"undefined":                            {[]Change{{row + 6, 2, 0}}, state, ulp.ErrNoSymbol},
		"undefined, with an entry":             {[]Change{{row + 6, 2, 0}}, entry, nil},
		"undefined, without one":               {[]Change{{row + 6, 2, 0}, {row + 8, 8, 0}}, entry, ulp.ErrNoSymbol},
		"a number":                             {[]Change{{row + 6, 2, uint64(elf.SHN_ABS)}, {row + 8, 8, 0}}, state, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			image := Forge(tc.changes...)
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
			if absolute := le.Uint16(image[row+6:]) == uint16(elf.SHN_ABS); got.Type != elf.STT_TLS && !absolute {
				want += fakeBase
			}
			if got.Addr != want || got.Size != size || got.Undefined != tc.ref.Entry {
				t.Errorf("%+v, want address %#x", got, want)
			}
		})
	}
}

// TestDefines asks for versions of a forged library.
func TestDefines(t *testing.T) {
	m, list, err := fakeLibraries(t, Forge(needs(Change{forgeVerneed + 16 + 8, 4, 17})...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSymbols(m, list[0])
	if err != nil || !s.Defines("V1") || s.Defines("V2") || s.Defines("state") { // that one it needs
		t.Errorf("%v", err)
	}
}
