package ulp_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/internal/hotpatch"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestPackProven records which functions are proven, from the library's file or from its catalogue,
// where functions without NOPs may be replaced and nothing was forced; and forgets it when the
// container is packed again without.
func TestPackProven(t *testing.T) {
	lib := proven(t, x86.build(t, entriesSource, "-nostdlib"), symtab.LibraryOptions{})
	fromCatalogue, err := symtab.ParseCatalogue(lib.AppendCatalogue(nil))
	if err != nil {
		t.Fatal(err)
	}
	const text = "libt_livepatch1.so\n@/usr/lib64/lib.so\nplain:value_lp\nframed:value_lp\n"
	want := []uint64{value(t, lib, "plain"), value(t, lib, "framed")}
	slices.Sort(want)
	var sums []uint32
	for _, l := range []*symtab.Library{lib, fromCatalogue} {
		packed := pack(t, text, container(t), l, ulp.PackOptions{Entries: symtab.EntriesAny})
		p := livePatch(t, packed).Proven
		if p == nil || !slices.Equal(p.Functions, want) || !p.Has(want[0]) || p.Has(want[0]+1) {
			t.Fatalf("%+v, want %#x", p, want)
		}
		sums = append(sums, p.Checksum)
		again := pack(t, text, packed, l, ulp.PackOptions{Entries: symtab.EntriesAny, Force: true})
		if p := livePatch(t, again).Proven; p != nil || p.Has(want[0]) {
			t.Errorf("packed again: %+v", p)
		}
	}
	if sums[0] != sums[1] || sums[0] == 0 {
		t.Errorf("checksums of the code: %#x", sums)
	}
}

// value returns a symbol's value.
func value(t *testing.T, lib *symtab.Library, name string) uint64 {
	t.Helper()
	s, ok := lib.Lookup(name)
	if !ok {
		t.Fatalf("no %s", name)
	}
	return s.Value
}

// TestProvenSection reads what the section may say.
func TestProvenSection(t *testing.T) {
	image := pack(t, good, container(t), target(t), ulp.PackOptions{}).Image()
	rules := strconv.Itoa(hotpatch.Version)
	for text, want := range map[string]int{
		"": 0, rules + " 1f\n": 0, rules + " 1f\n10\nabc\n": 2, "1 1f\n10\n": 0, // by other rules
		rules: -1, rules + "\n": -1, rules + " 1f\n10": -1, rules + " 1f\n10\n10\n": -1, rules +
			" 1f\nx\n": -1, rules + " 123456789\n": -1, "any\n": -1,
		rules + " 1f\n" + strings.Repeat("1\n", 1<<17): -1,
	} {
		changed, err := ulp.EmbedSections(image, ulp.Section{Name: ulp.SectionProven,
			Data: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		p, err := parseContainer(t, changed).LivePatch()
		format, ok := errors.AsType[*symtab.FormatError](err)
		switch {
		case want < 0 && (!ok || format.What == "" || p != nil):
			t.Errorf("%.40q: %+v, %v", text, p, err)
		case want >= 0 && (err != nil || p.Proven == nil && want > 0 || p.Proven != nil &&
			len(p.Proven.Functions) != want):
			t.Errorf("%.40q: %+v, %v", text, p, err)
		}
	}
}

// FuzzProvenSection: whatever the section says, its functions are in order, or it is an error.
func FuzzProvenSection(f *testing.F) {
	image := pack(f, good, container(f), target(f), ulp.PackOptions{}).Image()
	for _, seed := range []string{"", "4 1f\n10\n20\n", "4 1f", "4 1f\n20\n10\n", "99 0\n1\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		changed, err := ulp.EmbedSections(image, ulp.Section{Name: ulp.SectionProven, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		p, err := parseContainer(t, changed).LivePatch()
		if _, ok := errors.AsType[*symtab.FormatError](err); err != nil && !ok || err == nil &&
			p.Proven != nil && !slices.IsSorted(p.Proven.Functions) {
			t.Fatal(p, err)
		}
	})
}
