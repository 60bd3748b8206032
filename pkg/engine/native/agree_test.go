package native

import (
	"debug/elf"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// provenLibc returns this machine's libc as the catalogue has it, and a process with the copies of
// it that are there.
func provenLibc(t *testing.T) (*symtab.Library, *view, []*rtld.Library) {
	t.Helper()
	lib, err := symtab.OpenLibrary(libcPath(t), symtab.LibraryOptions{Prove: true})
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, gcc(t, "allocate", "testdata/allocate.c", "-pthread"), 0)
	v := opened(t, c.pid)
	copies, err := v.copies(ulp.Target{BuildID: lib.BuildID, Name: "libc.so.6"})
	if err != nil {
		t.Fatal(err)
	}
	return lib, v, copies
}

// TestGateAgrees compares what catalogues say of functions of this machine's libc, from its file,
// with what the engine says of the same functions in a process: of some of each verdict.
func TestGateAgrees(t *testing.T) {
	const most = 12 // of each verdict: the engine searches the whole library for each function
	lib, v, copies := provenLibc(t)
	b := &planner{Plan: &Plan{}, v: v, texts: map[uint64]*hotpatch.Text{}}
	compared, anything := map[string]int{}, &Patch{Meta: &ulp.Metadata{},
		Entries: symtab.EntriesAny}
	for s := range lib.Symbols() {
		why, ok := lib.EntryProof(s.Value)
		if !ok || compared[why] == most || s.Undefined {
			continue
		}
		compared[why]++
		_, err := b.site(t.Context(), copies[0], anything,
			ulp.Function{Old: s.Name, OldValue: s.Value})
		if err != nil && !errors.Is(err, ErrEntry) {
			t.Fatal(err)
		}
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%s: the catalogue says %q, the engine %v", s.Name, why, err)
		}
	}
	if compared[""] == 0 && lib.Livepatchable {
		t.Skip("this machine's libc has NOPs everywhere")
	}
	if compared[""] != most || len(compared) < 5 {
		t.Errorf("compared %v", compared)
	}
}

// TestSameNOPs: what catalogues take for the engine's NOPs is what the engine does.
func TestSameNOPs(t *testing.T) {
	before, landing := strings.Repeat("\x90", beforeLen), string(endbr64)
	for _, head := range []string{
		before + "\x90\x90", before + "\x66\x90", before + landing + "\x90\x90", before + landing +
			"\x66\x90", before + "\x90\x55",
		before + landing + "\x55", "\x55" + before[1:] + "\x90\x90", before[1:] + "\xcc\x66\x90",
		before + "\xeb\xf0",
	} {
		window := append([]byte(head), make([]byte, siteWindow)...)[:siteWindow]
		if _, err := nopSite(0x401000, window); (err == nil) != hotpatch.HasNOPs(window) {
			t.Errorf("%x: the engine says %v", head, err)
		}
	}
}

// TestStarts: what keeps others from being overwritten is every symbol that the library defines.
func TestStarts(t *testing.T) {
	_, v, copies := provenLibc(t)
	starts, err := v.starts(t.Context(), copies[0])
	if err != nil {
		t.Fatal(err)
	}
	symbols, err := v.loaded.Symbols(t.Context(), copies[0])
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for s, err := range symbols.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if _, found := slices.BinarySearch(starts, s.Addr); !found && s.Type != elf.STT_TLS &&
			!s.Absolute && copies[0].Contains(s.Addr, 1) {
			t.Errorf("%s at %#x is left out", s.Name, s.Addr)
		}
		n++
	}
	if n < 1000 {
		t.Errorf("only %d symbols", n)
	}
}
