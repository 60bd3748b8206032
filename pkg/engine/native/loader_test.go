package native

import (
	"bytes"
	"context"
	"debug/elf"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestStartedByLoader patches programs that were started as "ld.so ./program": for the kernel the
// loader is the program. The live patch needs symbols, indirect functions and thread-local storage.
func TestStartedByLoader(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c")
	pie, fixed := target(t, lib, "-pie", "-fPIE"), target(t, lib, "-no-pie", "-fno-pie")
	loader, stripped := targettest.Loader(t, pie), targettest.StrippedLoader(t, pie)
	for name, tc := range map[string]struct {
		by      []string
		program string
	}{
		"PIE":             {[]string{loader}, pie},
		"fixed":           {[]string{loader}, fixed},
		"stripped loader": {[]string{stripped}, pie},
		"stripped, fixed": {[]string{stripped}, fixed},
		"with a library path": {[]string{loader, "--library-path", filepath.Dir(lib)},
			pie},
		"without DT_DEBUG":                {[]string{loader}, withoutDebug(t, pie)},
		"the usual way, without DT_DEBUG": {nil, withoutDebug(t, fixed)},
	} {
		t.Run(name, func(t *testing.T) {
			c := startBy(t, tc.by, tc.program, 2)
			before := c.snapshot()
			c.apply(Options{}, p)
			c.says("all", patched)
			c.expect(2)
			c.right()
			c.expect(0)
			c.revert()
			c.says("all", original)
			c.cleared(before)
		})
	}
}

// withoutDebug returns a copy of a program without the place where the dynamic loader tells
// debuggers of its list.
func withoutDebug(t *testing.T, program string) string {
	t.Helper()
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	d := f.Section(".dynamic")
	for at := d.Offset; at < d.Offset+d.FileSize; at += 16 {
		if elf.DynTag(le.Uint64(b[at:])) == elf.DT_DEBUG {
			le.PutUint64(b[at:], 0x6ffffdff) // of a range whose unknown tags mean nothing
			found = true
		}
	}
	if !found {
		t.Fatal("no DT_DEBUG")
	}
	path := filepath.Join(t.TempDir(), filepath.Base(program))
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestStaticProgram: a program without a dynamic loader is patched itself, as long as the live
// patch needs nobody's symbols.
func TestStaticProgram(t *testing.T) {
	program := gcc(t, "static", "-static", nopFlags, "-Wl,--build-id", "testdata/target.c",
		"testdata/library.c", "-pthread")
	c := start(t, program, 1)
	before := c.snapshot()
	p := pack(t, program, both, ulp.PackOptions{}, source(t, "int second_lp(void) { return 2; }",
		"2"))
	c.apply(Options{}, p)
	c.says("all", "2 2 5 7 original")
	c.revert()
	c.says("all", original)
	c.cleared(before)
	c.refused(Change{
		Apply: []*Patch{pack(t, program, both, ulp.PackOptions{}, "testdata/patch.c")}}, Options{},
		ErrUnresolved)
	if d := cmp.Diff(before, c.snapshot()); d != "" {
		t.Errorf("not as before: %s", d)
	}
}

// TestEmulator: what a program without a dynamic loader has mapped is left alone.
func TestEmulator(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, both, ulp.PackOptions{}, source(t, "int second_lp(void) { return 2; }", "2"))
	emulator := gcc(t, "emulator", "-static", "testdata/emulator.c")
	startBy(t, []string{emulator}, lib, 0).refused(Change{Apply: []*Patch{p}}, Options{},
		ErrNoLoader)
}

// TestLibraryWithoutCode: the dynamic loader lists it, but it is none of those that have code. Who
// loads a library at this moment looks the same, and is another matter: see TestExecStorm.
func TestLibraryWithoutCode(t *testing.T) {
	lib := library(t, nopFlags)
	path := filepath.Join(t.TempDir(), "data.c")
	if err := os.WriteFile(path, []byte("int data[1000] = {1};"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := gcc(t, "data.so", path, "-shared", "-fPIC", "-nostdlib", "-Wl,-z,separate-code")
	c := start(t, target(t, lib), 0, "LD_PRELOAD="+data)
	v := opened(t, c.pid)
	m := &countedLooks{processMemory: v.m}
	if _, err := rtld.NewLinkMaps(m, v.libs, nil).Namespaces(t.Context()); err != nil ||
		m.looks != 1 {
		t.Errorf("the list has nothing that is not among the libraries: %v, %d more looks at these",
			err, m.looks)
	}
	c.apply(Options{}, pack(t, lib, everything, ulp.PackOptions{}, "testdata/patch.c"))
	c.says("all", patched)
}

// countedLooks counts how often the libraries of a process are listed.
type countedLooks struct {
	processMemory
	looks int
}

func (c *countedLooks) Libraries(ctx context.Context) ([]*rtld.Library, error) {
	c.looks++
	return c.processMemory.Libraries(ctx)
}
