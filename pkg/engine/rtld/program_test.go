package rtld

import (
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
)

// Places of what a forged loader tells of its program.
const (
	forgeDebug = 0xf00
	forgeEntry = 0xf40
	programAt  = forged.Base + 0x10000
)

// forgeLoader makes a library that exports r_debug, with a program that lies at programAt.
func forgeLoader(changes ...forged.Change) []byte {
	name := uint64(len(forged.Strings))
	return forged.Library(append([]forged.Change{
		forged.NoGNU(), forged.Dyn(2, name+9), {forged.Strtab + name, 8,
			le.Uint64([]byte(debugSymbol))},
		{forged.Symtab + 24, 4, name}, {forged.Symtab + 24 + 8, 8, forgeDebug},
		{forged.Symtab + 24 + 16, 8, 40},
		{forgeDebug, 4, 1}, {forgeDebug + 8, 8, forged.Base + forgeEntry},
		{forgeEntry, 8, programAt}, {forgeEntry + 16, 8, programAt + forged.Dynamic},
	}, changes...)...)
}

// startedLibraries lists what is in a process that the kernel started with a forged loader, which
// says that it has loaded a program.
func startedLibraries(t testing.TB, loader []byte, a Auxv) ([]*Library, error) {
	t.Helper()
	m := forged.Memory{forged.Base: loader, programAt: forged.Library()}
	var maps []Mapping
	for i, at := range []uint64{forged.Base, programAt} {
		maps = append(maps, Mapping{Start: at, End: at + pageUp(uint64(len(m[at]))),
			Perm: PermRead | PermExec, Path: "/lib/liar.so", File: FileID{Inode: uint64(i + 1)}})
	}
	return FindLibraries(t.Context(), m, maps, a)
}

// TestStarted: the program is what the loader says, if that is there; else the loader is all there
// is.
func TestStarted(t *testing.T) {
	for name, tc := range map[string]struct {
		changes []forged.Change
		base    uint64 // of the interpreter
		found   bool
	}{
		"the truth":                  {nil, 0, true},
		"a program with interpreter": {nil, 1, false},
		"not begun":                  {[]forged.Change{{forgeDebug, 4, 0}}, 0, false},
		"no list":                    {[]forged.Change{{forgeDebug + 8, 8, 0}}, 0, false},
		"a list elsewhere":           {[]forged.Change{{forgeDebug + 8, 8, 1 << 62}}, 0, false},
		"another place": {[]forged.Change{{forgeEntry, 8, programAt + 4096}}, 0,
			false},
		"another dynamic section": {[]forged.Change{{forgeEntry + 16, 8, programAt}}, 0, false},
		"the loader itself": {[]forged.Change{{forgeEntry, 8, forged.Base},
			{forgeEntry + 16, 8, forged.Base + forged.Dynamic}}, 0, false},
		"r_debug outside": {[]forged.Change{{forged.Symtab + 24 + 8, 8, 1 << 40}}, 0, false},
		"no r_debug":      {[]forged.Change{{forged.Symtab + 24, 4, 9}}, 0, false},
		"no symbols":      {[]forged.Change{forged.Dyn(3, 1<<40)}, 0, false},
		"no name":         {[]forged.Change{{forged.Dynamic, 8, 0x6ffffdff}}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := startedLibraries(t, forgeLoader(tc.changes...),
				Auxv{Phdr: forged.Base + forged.Phdrs, Base: tc.base})
			if err != nil || len(list) != 2 {
				t.Fatalf("%d libraries, %v", len(list), err)
			}
			if l := list[0]; l.Main == tc.found || l.Loader != tc.found {
				t.Errorf("the loader: Main %v, Loader %v", l.Main, l.Loader)
			}
			if l := list[1]; l.Main != tc.found || l.Loader {
				t.Errorf("the program: Main %v, Loader %v", l.Main, l.Loader)
			}
		})
	}
}

func FuzzStarted(f *testing.F) {
	f.Add(forgeLoader())
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || len(in) > 1<<16 {
			return
		}
		list, err := startedLibraries(t, in, Auxv{Phdr: forged.Base + forged.Phdrs})
		if err != nil {
			checkResult(t, list != nil, err)
			return
		}
		mains, loaders := 0, 0
		for _, l := range list {
			if l.Main {
				mains++
			}
			if l.Loader {
				loaders++
			}
		}
		if mains > 1 || loaders > mains {
			t.Fatalf("%d programs, %d loaders", mains, loaders)
		}
	})
}
