package native

import (
	"bytes"
	"debug/elf"
	"errors"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestSegments: what can be written is what the dynamic loader would let be written, and it cannot
// be executed: variables, and variables that the file does not have. Code, constants and constants
// that are relocated cannot be written: see region.
func TestSegments(t *testing.T) {
	lib := library(t, nopFlags)
	p := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, "-Wl,-z,relro,-z,now,-z,separate-code",
		source(t, `
const int constants[2000] = {[1999] = 1};
int variables[2000] = {[1999] = 2};
int zeros[300000];
const int *const relocated[600] = {[7] = constants + 1999, [599] = variables + 1999};
static int adds_up(void) {
	int n = 0;
	for (int i = 0; i < 300000; i++)
		n += zeros[i]++;
	return n + *relocated[7] + *relocated[599] + variables[1999]++;
}`, "adds_up() + 1000"))
	c := start(t, target(t, lib), 0)
	c.apply(Options{}, p)
	c.says("all", "1005 1 5 7 original")
	c.says("all", "301007 1 5 7 original")
	image, _ := images.Load(p)
	f, err := elf.NewFile(bytes.NewReader(image.([]byte)))
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	maps := opened(t, c.pid).maps
	base := imageOf(t, opened(t, c.pid), p)
	want := map[string]rtld.Perm{"first_lp": rtld.PermRead | rtld.PermExec,
		"constants": rtld.PermRead | rtld.PermExec, "relocated": rtld.PermRead | rtld.PermExec,
		"variables": rtld.PermRead | rtld.PermWrite, "zeros": rtld.PermRead | rtld.PermWrite}
	for _, s := range symbols {
		at := base + s.Value + s.Size/2
		for _, m := range maps {
			if perm, ok := want[s.Name]; ok && at >= m.Start && at < m.End {
				if got := m.Perm & (rtld.PermRead | rtld.PermWrite | rtld.PermExec); got != perm {
					t.Errorf("%s: %v, want %v", s.Name, got, perm)
				}
				delete(want, s.Name)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}

// TestAlignment: what a container wants to be aligned to more than a page, is; more than one of
// them at a time.
func TestAlignment(t *testing.T) {
	lib := library(t, nopFlags)
	aligned := source(t, `static char room[8] __attribute__((aligned(1 << 18))) = {1};
__attribute__((noinline)) static unsigned long low(void)
{ char *volatile at = room; return (unsigned long)at & ((1 << 18) - 1); }
int second_lp(void) { return low() + 30; }`, "low() + 20")
	one := pack(t, lib, "first:first_lp\n", ulp.PackOptions{}, aligned)
	two := pack(t, lib, "second:second_lp\n", ulp.PackOptions{}, aligned)
	c := start(t, target(t, lib), 0)
	before := c.snapshot()
	c.apply(Options{}, answer(t, lib, 2, "text:text_lp\n"), one, two)
	c.says("all", "20 30 5 7 patched")
	c.cleared(before)
	c.says("all", original)
}

// TestAlignedRoom: there is room for an aligned container only where it is with what lies in front
// of it.
func TestAlignedRoom(t *testing.T) {
	const align, free = 1 << 18, uint64(0x7f0000001000)
	for name, tc := range map[string]struct {
		gap uint64 // after free
		err error
	}{"enough": {tableSize + align + (7+signedSizes)*pageSize, nil},
		"not enough": {tableSize + 8*pageSize, ErrNoRoom}} {
		t.Run(name, func(t *testing.T) {
			maps := []rtld.Mapping{{Start: lowestRoom, End: free},
				{Start: free + tc.gap, End: highestRoom}}
			a := &newPatch{patch: &Patch{im: &image{mem: make([]byte, pageSize), align: align},
				Meta: &ulp.Metadata{}}}
			tp := &targetPlan{adding: []*newPatch{a}, next: &table{},
				lib: &rtld.Library{
					Segments: []rtld.Segment{
						{Start: free + tc.gap, End: free + tc.gap + pageSize}}}}
			err := (&planner{Plan: &Plan{}, v: &view{maps: maps}}).addresses(tp)
			if !errors.Is(err, tc.err) {
				t.Fatalf("%v, want %v", err, tc.err)
			}
			if err == nil && (a.image()%align != 0 || tp.next.base < free || a.base < tp.next.base+
				tableSize || a.base+a.size > free+tc.gap) {
				t.Errorf("table at %#x, container at %#x + %#x", tp.next.base, a.base, a.size)
			}
		})
	}
}
