package ulp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

func TestSplitVersion(t *testing.T) {
	for name, want := range map[string][2]string{
		"bar": {"bar", ""}, "bar@V1": {"bar", "V1"}, "bar@@V2": {"bar", "V2"}, "bar@": {"bar@", ""},
		"bar@@": {"bar@@", ""},
		"@V1":   {"@V1", ""}, "@@V1": {"@@V1", ""}, "bar@V1@V2": {"bar", "V1@V2"}, "": {"", ""},
	} {
		if base, version := symtab.SplitVersion(name); base != want[0] || version != want[1] {
			t.Errorf("%q is %q and %q, want %q", name, base, version, want)
		}
	}
}

// versionedLibraries are the target as it may be known: with .symtab, stripped, by lpbuild's
// catalogue of each, and by libpulp's.
func versionedLibraries(t *testing.T) map[string]*symtab.Library {
	t.Helper()
	full, stripped := target(t), parseTarget(t, strip(t, targetImage(t)))
	catalogue := func(l *symtab.Library) *symtab.Library {
		c, err := symtab.ParseCatalogue(l.AppendCatalogue(nil))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return map[string]*symtab.Library{"full": full, "stripped": stripped,
		"catalogue": catalogue(full), "catalogue of the stripped one": catalogue(stripped)}
}

// TestPackVersions: the metadata have the name as it was written, and the address of that version.
func TestPackVersions(t *testing.T) {
	address := map[string]uint64{}
	for _, s := range target(t).LookupAll("versioned") {
		if s.Dynamic {
			address[s.Version] = s.Value
		}
	}
	if len(address) != 2 || address["V1"] == address["V2"] {
		t.Fatalf("the library has %v", address)
	}
	for kind, lib := range versionedLibraries(t) {
		for lines, want := range map[string][]ulp.Function{
			"versioned@V1:value_lp\n": {{Old: "versioned@V1", New: "value_lp",
				OldValue: address["V1"]}},
			"versioned@@V2:value_lp\n": {{Old: "versioned@@V2", New: "value_lp",
				OldValue: address["V2"]}},
			"versioned@V2:value_lp\n": {{Old: "versioned@V2", New: "value_lp",
				OldValue: address["V2"]}},
			"versioned@*:value_lp\n": {{Old: "versioned@@V2", New: "value_lp",
				OldValue: address["V2"]}, {Old: "versioned@V1", New: "value_lp",
				OldValue: address["V1"]}},
			"versioned@V1:other_lp\nversioned@*:value_lp\n": {{Old: "versioned@V1", New: "other_lp",
				OldValue: address["V1"]}, {Old: "versioned@@V2", New: "value_lp",
				OldValue: address["V2"]}},
		} {
			d, err := description(t, head+lines).Expand(ulp.Expansion{}, lib)
			if err != nil {
				t.Errorf("%s, %q: %v", kind, lines, err)
				continue
			}
			m, err := ulp.NewMetadata(d, nil, container(t), lib, ulp.PackOptions{})
			if err != nil {
				t.Errorf("%s, %q: %s", kind, lines, diag.Render(err, false))
				continue
			}
			if len(m.Functions) != len(want) || m.Functions[0] != want[0] ||
				m.Functions[len(want)-1] != want[len(want)-1] {
				t.Errorf("%s, %q: %+v, want %+v", kind, lines, m.Functions, want)
			}
		}
	}
}

// TestCheckVersions: a name that is several functions is refused with the ways to choose, and so is
// a version that does not exist.
func TestCheckVersions(t *testing.T) {
	for kind, lib := range versionedLibraries(t) {
		for line, want := range map[string]struct {
			err  error
			says string
		}{
			"versioned:value_lp": {ulp.ErrAmbiguous, "x.dsc:3:1: error: \"versioned\" is several " +
				"functions of libt.so\n    versioned:value_lp\n    ^~~~~~~~~\n" +
				"  hint: choose a version: versioned@@V2:value_lp, versioned@V1:value_lp; or all " +
				"of them: versioned@*:value_lp"},
			"versioned@V3:value_lp": {ulp.ErrNoSymbol,
				"hint: there are versioned@@V2, versioned@V1"},
			"versioned@@V1:value_lp": {ulp.ErrNoSymbol,
				"hint: there are versioned@@V2, versioned@V1"},
			"versioned@@V2:value_lp\nversioned@V2:other_lp": {ulp.ErrDuplicate,
				`"versioned@V2" is another name of "versioned@@V2"`},
			"value:value_lp@V1": {ulp.ErrNotExported, "name it without a version"},
		} {
			err := ulp.Check(description(t, head+line+"\n"), container(t), lib, symtab.EntriesNOPs)
			if got := diag.Render(err, false); !errors.Is(err, want.err) ||
				!strings.Contains(got, want.says) {
				t.Errorf("%s, %q: got\n%swant %v and\n%s", kind, line, got, want.err, want.says)
			}
		}
	}
}

// TestAliasedVersions: where all versions are one function, its name alone means it.
func TestAliasedVersions(t *testing.T) {
	lib := parseTarget(t,
		sharedObject(t, map[string]string{"exports.map": targetFiles["exports.map"],
			"v.c": "int f1(void) { return 1; }\nint f2(void) __attribute__((alias(\"f1\")));\n" +
				"__asm__(\".symver f1,f@V1\");\n__asm__(\".symver f2,f@@V2\");\n"}))
	for _, line := range []string{"f:value_lp\n", "f@V1:value_lp\n", "f@@V2:value_lp\n"} {
		if err := ulp.Check(description(t, head+line), container(t), lib,
			symtab.EntriesNOPs); err != nil {
			t.Errorf("%q: %s", line, diag.Render(err, false))
		}
	}
	d, err := description(t, head+"f@*:value_lp\n").Expand(ulp.Expansion{}, lib)
	if err != nil || len(d.Functions) != 1 {
		t.Errorf("%v, %v", d, err)
	}
}

// TestCheckVariableVersions: versions of a variable are chosen in the same way.
func TestCheckVariableVersions(t *testing.T) {
	lib := parseTarget(t,
		sharedObject(t, map[string]string{"exports.map": targetFiles["exports.map"],
			"v.c": "int value(void) { return 1; }\nint v1 = 1, v2 = 2;\n__asm__(\".symver " +
				"v1,v@V1\");\n__asm__(\".symver v2,v@@V2\");\n"}))
	err := ulp.Check(description(t, head+line+"#v:ulpr_counter\n"), container(t), lib,
		symtab.EntriesNOPs)
	if got := diag.Render(err, false); !errors.Is(err, ulp.ErrAmbiguous) ||
		!strings.Contains(got, "choose a version: #v@@V2:ulpr_counter, #v@V1:ulpr_counter") {
		t.Errorf("%s", got)
	}
	if err := ulp.Check(description(t, head+line+"#v@V1:ulpr_counter\n"), container(t), lib,
		symtab.EntriesNOPs); err != nil {
		t.Errorf("%s", diag.Render(err, false))
	}
}
