package process

import (
	"testing"
)

// Places of what a forged loader tells of its program.
const (
	forgeDebug = 0xf00
	forgeEntry = 0xf40
	programAt  = fakeBase + 0x10000
)

// forgeLoader makes a library that exports r_debug, with a program that lies at programAt.
func forgeLoader(changes ...Change) []byte {
	name := uint64(len(forgeStrings))
	return Forge(append([]Change{
		noGNU(), dyn(2, name+9), {forgeStrtab + int(name), 8, le.Uint64([]byte(debugSymbol))},
		{forgeSymtab + 24, 4, name}, {forgeSymtab + 24 + 8, 8, forgeDebug}, {forgeSymtab + 24 + 16, 8, 40},
		{forgeDebug, 4, 1}, {forgeDebug + 8, 8, fakeBase + forgeEntry},
		{forgeEntry, 8, programAt}, {forgeEntry + 16, 8, programAt + forgeDynamic},
	}, changes...)...)
}

// startedLibraries lists what is in a process that the kernel started with a forged loader, which says that it has loaded a
// program.
func startedLibraries(t testing.TB, loader []byte, a *auxv) ([]*Library, error) {
	t.Helper()
	m := fakeMemory{fakeBase: loader, programAt: Forge()}
	var maps []Mapping
	for i, at := range []uint64{fakeBase, programAt} {
		maps = append(maps, Mapping{Start: at, End: at + pageUp(uint64(len(m[at]))), Perm: PermRead | PermExec, Path: "/lib/liar.so",
			File: FileID{Inode: uint64(i + 1)}})
	}
	return findLibraries(t.Context(), m, maps, a)
}

// TestStarted: the program is what the loader says, if that is there; else the loader is all there is.
func TestStarted(t *testing.T) {
	for name, tc := range map[string]struct {
		changes []Change
		base    uint64 // of the interpreter
		found   bool
	}{
		"the truth":                  {nil, 0, true},
		"a program with interpreter": {nil, 1, false},
		"not begun":                  {[]Change{{forgeDebug, 4, 0}}, 0, false},
		"no list":                    {[]Change{{forgeDebug + 8, 8, 0}}, 0, false},
		"a list elsewhere":           {[]Change{{forgeDebug + 8, 8, 1 << 62}}, 0, false},
		"another place":              {[]Change{{forgeEntry, 8, programAt + 4096}}, 0, false},
		"another dynamic section":    {[]Change{{forgeEntry + 16, 8, programAt}}, 0, false},
		"the loader itself":          {[]Change{{forgeEntry, 8, fakeBase}, {forgeEntry + 16, 8, fakeBase + forgeDynamic}}, 0, false},
		"r_debug outside":            {[]Change{{forgeSymtab + 24 + 8, 8, 1 << 40}}, 0, false},
		"no r_debug":                 {[]Change{{forgeSymtab + 24, 4, 9}}, 0, false},
		"no symbols":                 {[]Change{dyn(3, 1<<40)}, 0, false},
		"no name":                    {[]Change{{forgeDynamic, 8, 0x6ffffdff}}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := startedLibraries(t, forgeLoader(tc.changes...), &auxv{phdr: fakeBase + forgePhdrs, base: tc.base})
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
		list, err := startedLibraries(t, in, &auxv{phdr: fakeBase + forgePhdrs})
		if err != nil {
			check(t, list != nil, err)
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
