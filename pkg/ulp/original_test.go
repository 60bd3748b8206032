package ulp_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// originalContainer is a container with pointers to former code, of these names.
func originalContainer(t testing.TB, names ...string) *ulp.Container {
	t.Helper()
	source := "int value_lp(void) { return 1; }\nint other_lp(void) { return 2; }\n"
	for _, name := range names {
		source += name + ";\n"
	}
	c, err := ulp.ParseContainer(sharedObject(t, map[string]string{"p.c": source}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const originalValue = "int (*lpbuild_original_value)(void)"

// TestOriginal: a pointer to former code leads past the two bytes of a detour, wherever they are,
// and past an endbr64 before them.
func TestOriginal(t *testing.T) {
	c := originalContainer(t, originalValue, "int (*lpbuild_original_third)(void)",
		"int *ulpr_shared")
	for protection, past := range map[string]uint64{"none": 2, "full": 6} {
		lib := target(t, "-fcf-protection="+protection)
		again, err := symtab.ParseCatalogue(lib.AppendCatalogue(nil))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []*symtab.Library{lib, again} {
			// By its name; by another name of the function; by a line of the description.
			for _, lines := range []string{"value:value_lp\n", "value_alias:value_lp\n"} {
				d := description(t, head+lines+"other:other_lp\n#shared:ulpr_shared\n"+
					"#other:lpbuild_original_third\n")
				m, err := ulp.NewMetadata(d, nil, c, l, ulp.PackOptions{})
				if err != nil {
					t.Fatal(diag.Render(err, false))
				}
				var got []string
				for _, r := range m.References {
					p, _ := c.Lookup(r.Reference)
					of, _ := l.Lookup(r.Target)
					got = append(got, fmt.Sprint(r.Target, r.TargetOffset-of.Value,
						r.PatchOffset == p.Value, r.TLS))
				}
				name, _, _ := strings.Cut(lines, ":")
				want := []string{fmt.Sprint(name, past, true, false),
					fmt.Sprint("other", past, true, false), "shared0truefalse"}
				for i := range want {
					want[i] = strings.ReplaceAll(want[i], " ", "")
					got[i] = strings.ReplaceAll(got[i], " ", "")
				}
				if !slices.Equal(got, want) {
					t.Errorf("-fcf-protection=%s: %q, want %q", protection, got, want)
				}
			}
		}
	}
}

// TestOriginalElsewhere refuses what looks like a pointer to former code, and is in a namespace;
// and more pointers than there can be.
func TestOriginalElsewhere(t *testing.T) {
	var many strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&many, "void *lpbuild_original_f%d;\n", i)
	}
	for source, want := range map[string]string{
		`namespace a { int (*lpbuild_original_value)(); }
extern "C" int value_lp() { return a::lpbuild_original_value(); }
`: "is no pointer to former code",
		`namespace { int (*volatile lpbuild_original_value)(); }
extern "C" int value_lp() { return lpbuild_original_value(); }
`: "is no pointer to former code",
		`extern "C" int value_lp()
{ static int (*volatile lpbuild_original_value)(); return lpbuild_original_value(); }
`: "is no pointer to former code",
		`int (*lpbuild_original_value)();
extern "C" int value_lp() { return lpbuild_original_value(); }
`: "",
		"extern \"C\" int value_lp() { return 1; }\n" +
			many.String(): "has 1001 pointers to former code; it may have 1000",
	} {
		c, err := ulp.ParseContainer(sharedObject(t, map[string]string{"p.cc": source}, "CC=g++"))
		if err != nil {
			t.Fatal(err)
		}
		err = ulp.Check(description(t, head+line), c, target(t), symtab.EntriesNOPs)
		if want == "" && err != nil || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.200s\n%v, want %q", source, err, want)
		}
	}
}

// TestOriginalMoved: where a function has no NOPs the metadata do not say where its former code is.
func TestOriginalMoved(t *testing.T) {
	lib, err := symtab.OpenLibrary(
		writeFile(t, "libt.so", targetImage(t, "-fpatchable-function-entry=0")),
		symtab.LibraryOptions{Prove: true})
	if err != nil {
		t.Fatal(err)
	}
	d := description(t, head+"other:other_lp\n")
	c := originalContainer(t, "int (*lpbuild_original_other)(void)")
	if m, err := ulp.NewMetadata(d, nil, c, lib,
		ulp.PackOptions{Entries: symtab.EntriesAny}); err != nil || len(m.References) != 1 ||
		m.References[0].TargetOffset != ulp.OriginalMoved {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestOriginalRefuses(t *testing.T) {
	lib := target(t)
	old, err := symtab.ParseCatalogue([]byte(strings.Replace(string(lib.AppendCatalogue(nil)),
		",\n\"landings\":true", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	power := *lib
	power.Arch = symtab.PPC64LE
	for name, tc := range map[string]struct {
		lib        *symtab.Library
		pointer    string
		lines      string
		err        error
		want, hint string
	}{
		"not replaced": {lib, "int (*lpbuild_original_second)(void)", "value:value_lp",
			ulp.ErrOriginal, `x.dsc:1:1: error: "lpbuild_original_second": the live patch does ` +
				`not replace "second"`, "call second itself, or replace it"},
		"no such function": {lib, "int (*lpbuild_original_valu)(void)", "value:value_lp",
			ulp.ErrOriginal, `x.dsc:1:1: error: "lpbuild_original_valu": the live patch replaces ` +
				`no function "valu"`, "did you mean lpbuild_original_value?"},
		"of one that is not replaced": {lib, "int (*lpbuild_original_x)(void)",
			"value:value_lp\n#second:lpbuild_original_x", ulp.ErrOriginal,
			`x.dsc:4:2: error: "lpbuild_original_x" is for the former code of a function, and ` +
				`the live patch does not replace "second"`, ""},
		"several versions": {lib, "int (*lpbuild_original_versioned)(void)",
			"versioned@V1:value_lp\nversioned@@V2:other_lp", ulp.ErrAmbiguous,
			`x.dsc:1:1: error: "lpbuild_original_versioned": the live patch replaces several ` +
				`functions "versioned"`, "#versioned@V1:lpbuild_original_versioned_1, " +
				"#versioned@@V2:lpbuild_original_versioned_2"},
		"offsets": {lib, originalValue, "value:value_lp\n#value:lpbuild_original_value:10:0",
			ulp.ErrOriginal, `x.dsc:4:2: error: "lpbuild_original_value" is for the former code ` +
				`of a function, which lpbuild finds without offsets`,
			"write #value:lpbuild_original_value"},
		"thread-local": {lib, "long lpbuild_original_value[2]",
			"value:value_lp\n#%value:lpbuild_original_value", ulp.ErrTLS,
			`x.dsc:4:3: error: "lpbuild_original_value" is for the former code of a function`,
			"write #value"},
		"not defined": {lib, "extern int (*lpbuild_original_value)(void); int asks_lp(void) { " +
			"return lpbuild_original_value(); }", "value:value_lp", ulp.ErrOriginal,
			`x.dsc:1:1: error: "lpbuild_original_value" is declared in the source of ` +
				`libt_livepatch1.so but not defined`,
			"__typeof__(value) *lpbuild_original_value;"},
		"nearly the name": {lib, "int (*lpbuild_orignal_value)(void)", "value:value_lp",
			ulp.ErrOriginal, `x.dsc:1:1: error: "lpbuild_orignal_value" of libt_livepatch1.so ` +
				`begins like a pointer to former code, and no engine fills it in`,
			"begins with lpbuild_original_"},
		"prototype": {lib, "int lpbuild_original_value(void); int asks_lp(void) { return " +
			"lpbuild_original_value(); }", "value:value_lp", ulp.ErrOriginal,
			`x.dsc:1:1: error: "lpbuild_original_value" is declared in the source of ` +
				`libt_livepatch1.so but not defined`,
			"__typeof__(value) *lpbuild_original_value;"},
		"a function": {lib, "int lpbuild_original_value(void) { return 1; }", "value:value_lp",
			ulp.ErrReference, `x.dsc:3:1: error: "lpbuild_original_value" of libt_livepatch1.so ` +
				`is not a variable but a function`, ""},
		"const": {lib, "int (*const lpbuild_original_value)(void) = (void *)1", "value:value_lp",
			ulp.ErrReference, `x.dsc:3:1: error: "lpbuild_original_value" of libt_livepatch1.so ` +
				`lies in read-only memory`, "without const"},
		"catalogue of an earlier version": {old, originalValue, "value:value_lp", ulp.ErrOriginal,
			`x.dsc:3:1: error: the former code of "value" cannot be called: the catalogue of ` +
				`libt.so, by another version of lpbuild, does not tell where it begins`,
			"run lpbuild download again"},
		"libpulp's catalogue": {libpulpCatalogue(t, lib), originalValue, "value:value_lp",
			ulp.ErrOriginal, `x.dsc:3:1: error: the former code of "value" cannot be called: the ` +
				`catalogue of libt.so does not tell how the function begins`, "with lpbuild"},
		"ppc64le": {&power, originalValue, "value:value_lp", ulp.ErrOriginal,
			`x.dsc:3:1: error: the former code of "value" cannot be called: that works on x86_64 ` +
				`only, not on ppc64le`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := ulp.Check(description(t, head+tc.lines+"\n"), originalContainer(t, tc.pointer),
				tc.lib, symtab.EntriesNOPs)
			list, _ := errors.AsType[diag.List](err)
			list = slices.DeleteFunc(list, func(d *diag.Diagnostic) bool {
				return errors.Is(d.Err, ulp.ErrArch)
			})
			if len(list) == 0 {
				t.Fatal("not refused")
			}
			if len(list) != 1 || list[0].Error() != tc.want || !errors.Is(list[0].Err, tc.err) ||
				!strings.Contains(list[0].Hint, tc.hint) {
				t.Errorf("got\n%swant %q\n%s", diag.Render(err, false), tc.hint, tc.want)
			}
			// What cannot be filled in is not packed by force either.
			if _, err := ulp.NewMetadata(description(t, head+tc.lines+"\n"), nil,
				originalContainer(t, tc.pointer), tc.lib,
				ulp.PackOptions{Force: true}); err == nil &&
				!slices.Contains([]string{"not defined", "nearly the name", "prototype",
					"a function", "const"}, name) {
				t.Error("packed by force")
			}
		})
	}
}
