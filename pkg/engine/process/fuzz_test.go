package process

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/internal/forged"
	"github.com/lpbuild/lpbuild/pkg/engine/internal/procfs"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// check is the invariant of every parser: a result or an error, and the error is one of ours.
func check(t *testing.T, hasResult bool, err error) {
	t.Helper()
	if hasResult == (err != nil) {
		t.Fatalf("result %v with error %v", hasResult, err)
	}
	if err != nil && !rtld.Local(err) {
		t.Fatalf("error of another kind: %v", err)
	}
}

func FuzzParseMaps(f *testing.F) {
	f.Add([]byte("7f0000000000-7f0000001000 r-xp 00000000 fe:00 7 /lib/a\\012b (deleted)\n" +
		"7f0000001000-7f0000002000 rw-p 00000000 00:00 0\n"))
	f.Add([]byte("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  " +
		"[vsyscall]\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var k keeper
		err := procfs.EachMapping(bytes.NewReader(in), func(l *procfs.Mapping) error {
			return k.add(mappingOf(l))
		})
		if err != nil {
			check(t, false, err)
			return
		}
		list, err := rtld.FindLibraries(t.Context(), forged.Memory{forged.Base: forged.Library()},
			k.finish(), rtld.Auxv{})
		if err != nil {
			check(t, list != nil, err)
		}
	})
}

func FuzzParseCgroup(f *testing.F) {
	f.Add([]byte("0::/machine.slice/libpod-" + strings.Repeat("a", 64) + ".scope"))
	f.Add([]byte(`0::/machine.slice/machine-a\x2db.scope`))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := parseCgroup(in)
		if err != nil {
			check(t, c != Container{}, err)
		}
		if strings.ContainsFunc(c.ID, func(r rune) bool {
			return !strings.ContainsRune("_.-", r) && (r < '0' || r > 'z')
		}) {
			t.Fatalf("id %q", c.ID)
		}
	})
}

func FuzzParseAuxv(f *testing.F) {
	f.Add([]byte(auxv64))
	f.Add([]byte(auxv32))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := parseAuxv(in)
		check(t, a != nil, err)
	})
}

func FuzzParseEnviron(f *testing.F) {
	f.Add([]byte("A=1\x00AB=2\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := parseEnviron(bytes.NewReader(in), []string{"A", "AB"})
		check(t, got != nil, err)
		if err != nil {
			return
		}
		for name, value := range got.found {
			if !bytes.Contains(in, []byte(name+"="+value)) {
				t.Fatalf("%q=%q is not in %q", name, value, in)
			}
		}
	})
}

// FuzzMovedEnviron takes its input for the memory of a library that is mapped as a whole, and looks
// for variables in it.
func FuzzMovedEnviron(f *testing.F) {
	for _, lie := range forged.Lies {
		f.Add(forged.Library(lie.Changes...))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || len(in) > 1<<16 {
			return
		}
		m := forged.Memory{forged.Base: in}
		list, err := rtld.FindLibraries(t.Context(), m, []rtld.Mapping{forgedMapping(in)},
			rtld.Auxv{})
		if err != nil {
			check(t, list != nil, err)
			return
		}
		if env, err := readEnviron(t.Context(), m, list, []string{"A"}); err != nil {
			check(t, env != nil, err)
		}
	})
}

// forgedMapping is that of a library at [forged.Base].
func forgedMapping(image []byte) rtld.Mapping {
	return rtld.Mapping{Start: forged.Base, End: forged.Base + (uint64(len(image))+4095)&^4095,
		Perm: rtld.PermRead | rtld.PermExec, File: rtld.FileID{Dev: 0xfe00, Inode: 7}}
}

func FuzzPrologue(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0x90}, 100))
	f.Add([]byte("\xff\x25\x00\x00\x00\x00\x88\x77\x66\x55\x44\x33\x22\x11\xeb\xf0"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for arch, format := range entryFormats {
			p, err := readPrologue(forged.Memory{0x1000: in}, 0x1000+uint64(format.before), arch)
			check(t, p != nil, err)
			if p != nil && (p.State == EntryDetour) != (p.Target != 0) {
				t.Fatalf("%+v", p)
			}
		}
	})
}
