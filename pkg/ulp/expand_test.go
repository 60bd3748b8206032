package ulp_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

var expansion = ulp.Expansion{Version: "2.31", Release: "150300.26.5", Arch: symtab.X86_64,
	Target: "cat/libc.so.6.json"}

func TestExpandWords(t *testing.T) {
	const oldContainer, newContainer = "libc_GLIBCVER_livepatch1.so",
		"libc_{version}-{release}_livepatch1.so"
	tests := map[string]struct {
		container, target         string
		x                         ulp.Expansion
		wantContainer, wantTarget string
	}{
		"old words": {oldContainer, "LIBC", expansion, "libc_2.31-150300.26.5_livepatch1.so",
			"cat/libc.so.6.json"},
		"placeholders": {newContainer, "{library}", expansion,
			"libc_2.31-150300.26.5_livepatch1.so", "cat/libc.so.6.json"},
		"architecture": {"a_{arch}.so", "/usr/{arch}/l", expansion, "a_x86_64.so", "/usr/x86_64/l"},
		"GLIBCVER is not LIBC in the middle": {"GLIBCVERLIBCGLIBCVER.so", "l",
			ulp.Expansion{Version: "1", Release: "2", Target: "t"}, "1-2t1-2.so", "l"},
		"libpthread": {oldContainer, "LIBPTHREAD", expansion, "libc_2.31-150300.26.5_livepatch1.so",
			"cat/libc.so.6.json"},
		"libpthread before 2.34": {oldContainer, "LIBPTHREAD",
			ulp.Expansion{Version: "2.31", Release: "1", Target: "libc.so.6",
				Words: map[string]string{"LIBPTHREAD": "libpthread.so.0"}},
			"libc_2.31-1_livepatch1.so", "libpthread.so.0"},
		"librt": {"librt_GLIBCVER.so", "LIBRT", expansion, "librt_2.31-150300.26.5.so",
			"cat/libc.so.6.json"},
		"own words": {"a_{flavour}_NUMBER.so", "l",
			ulp.Expansion{Words: map[string]string{"{flavour}": "debug", "NUMBER": "7", "": "x"}},
			"a_debug_7.so", "l"},
		"longest word": {"a.so", "WORDING",
			ulp.Expansion{Words: map[string]string{"WORD": "x", "WORDING": "y"}}, "a.so", "y"},
		"inserted words are left alone": {"a.so", "{library}",
			ulp.Expansion{Target: "LIBC{version}{x}"}, "a.so", "LIBC{version}{x}"},
		"SLFO release": {newContainer, "l", ulp.Expansion{Version: "2.40", Release: "slfo.1.1_3.1"},
			"libc_2.40-slfo.1.1_3.1_livepatch1.so", "l"},
		"nothing": {"a.so", "/lib64/l.so", ulp.Expansion{}, "a.so", "/lib64/l.so"},
	}
	for what, tc := range tests {
		d := description(t, "!c\n"+tc.container+"\n@"+tc.target+
			"\nGLIBCVER:LIBC\n#LIBC:{version}\n")
		got, err := d.Expand(tc.x, nil)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		want := "!c\n" + tc.wantContainer + "\n@" + tc.wantTarget +
			"\nGLIBCVER:LIBC\n#LIBC:{version}\n"
		if d := cmp.Diff(want, got.String()); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
		if got.Container.Pos != d.Container.Pos || got.Target.Pos != d.Target.Pos {
			t.Errorf("%s: positions moved", what)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	long := strings.Repeat("x", 253) + ".so"
	tests := map[string]struct {
		text string
		x    ulp.Expansion
		err  error
		want string // rendered
	}{
		"unknown placeholder": {"a_{verison}.so\n@l\n", expansion, ulp.ErrPlaceholder,
			`x.dsc:1:3: error: unknown placeholder {verison}
    a_{verison}.so
      ^~~~~~~~~
  hint: there are {arch}, {library}, {release}, {version}
`},
		"open placeholder": {"a.so\n@x{version\n", expansion, ulp.ErrPlaceholder,
			`x.dsc:2:3: error: unknown placeholder {version
    @x{version
      ^~~~~~~~
  hint: there are {arch}, {library}, {release}, {version}
`},
		"no value": {"a_GLIBCVER.so\n@LIBC\n", ulp.Expansion{Version: "2.31"}, ulp.ErrPlaceholder,
			`x.dsc:1:3: error: GLIBCVER has no value for this build
    a_GLIBCVER.so
      ^~~~~~~~
x.dsc:2:2: error: LIBC has no value for this build
    @LIBC
     ^~~~
`},
		"path as container": {"dir/a.so\n@l\n", expansion, ulp.ErrContainerName,
			`x.dsc:1:1: error: the container's name "dir/a.so" ` +
				`is a path; a name without directories is wanted
    dir/a.so
    ^~~~~~~~
  hint: packages name it like libc_{version}-{release}_livepatch1.so
`},
		"path by a value": {"a_{version}.so\n@l\n", ulp.Expansion{Version: "../../x"},
			ulp.ErrContainerName,
			`x.dsc:1:1: error: the container's name "a_../../x.so" ` +
				`is a path; a name without directories is wanted
    a_{version}.so
    ^~~~~~~~~~~~~~
  hint: packages name it like libc_{version}-{release}_livepatch1.so
`},
		"long name": {long + "\n@l\n", expansion, ulp.ErrContainerName,
			`x.dsc:1:1: error: the container's name "` + long +
				`" has 256 bytes; a file name has at most 255
    ` + long + `
    ^` + strings.Repeat("~", 255) + `
  hint: packages name it like libc_{version}-{release}_livepatch1.so
`},
		"malformed pattern": {"a.so\n@l\nf[a:g\n", expansion, ulp.ErrPattern,
			`x.dsc:3:1: error: malformed pattern: a [ without its ]
    f[a:g
    ^~~
`},
	}
	for what, tc := range tests {
		got, err := description(t, tc.text).Expand(tc.x, nil)
		if got != nil || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, %v", what, got, err)
			continue
		}
		if d := cmp.Diff(tc.want, diag.Render(err, false)); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
}

func TestExpandContainerNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a.so": true, "libc_2.31-1~rc^2_x.so": true, strings.Repeat("x", 252) + ".so": true,
		"": false, ".so": false, "a": false, "a.so.1": false, "a:b.so": false, "a b.so": false,
		"a\nb.so": false, "a\x7f.so": false,
		"!a.so": false, "#a.so": false, "*a.so": false, "@a.so": false, "-a.so": false,
		"/a.so": false, "../a.so": false,
	} {
		_, err := description(t, "NAME\n@l\n").Expand(
			ulp.Expansion{Words: map[string]string{"NAME": name}}, nil)
		if name == "" {
			if !errors.Is(err, ulp.ErrPlaceholder) {
				t.Errorf("no name: %v", err)
			}
			continue
		}
		if (err == nil) != ok || err != nil && !errors.Is(err, ulp.ErrContainerName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for target, ok := range map[string]bool{strings.Repeat("x", 4096): true,
		strings.Repeat("x", 4097): false, "a\nb": false, " a": false, "a ": false} {
		_, err := description(t, "a.so\n@{library}\n").Expand(ulp.Expansion{Target: target}, nil)
		if (err == nil) != ok || err != nil && !errors.Is(err, ulp.ErrTarget) {
			t.Errorf("target of %d bytes: %v", len(target), err)
		}
	}
}

func TestExpandPatterns(t *testing.T) {
	lib := target(t)
	tests := map[string]struct {
		lines string
		want  string
	}{
		"without _chk, resolver and aliases": {"__copy_*:value_lp",
			"__copy_fast:value_lp\n__copy_slow:value_lp"},
		"sets and single letters": {"__copy_[fs]??[tw]:x",
			"__copy_fast:x\n__copy_slow:x"},
		"what is named is left out": {"__copy_*:x\n__copy_slow_alias:y",
			"__copy_fast:x\n__copy_slow_alias:y"},
		"between others": {"value:v\n__copy_f*:x\nother:o",
			"value:v\n__copy_fast:x\nother:o"},
		"second pattern, same replacement": {"__copy_slow_*:x\n__copy_*:x",
			"__copy_slow_alias:x\n__copy_fast:x"},
		"second pattern, other replacement": {"__copy_s*:x\n__copy_*:y",
			"__copy_slow:x\n__copy_fast:y\n__copy_slow:y"},
	}
	for what, tc := range tests {
		d := description(t, "a.so\n@l\n"+tc.lines+"\n")
		got, err := d.Expand(ulp.Expansion{}, lib)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if d := cmp.Diff("a.so\n@l\n"+tc.want+"\n", got.String()); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
	if got, err := description(t, "a.so\n@l\n__copy_*:x\n").Expand(ulp.Expansion{},
		nil); err != nil || got.Functions[0].Old.Text != "__copy_*" {
		t.Errorf("without a library: %v, %v", got, err)
	}
}

func TestExpandPatternWithoutMatch(t *testing.T) {
	for lines, want := range map[string]string{
		"__copy_z*:x": `x.dsc:3:1: error: no function of libt.so matches __copy_z*
    __copy_z*:x
    ^~~~~~~~~
`,
		"__copy_c*:x": `x.dsc:3:1: error: no function of libt.so matches __copy_c*
    __copy_c*:x
    ^~~~~~~~~
  hint: one name matches, but no indirect function can choose it, or it is a _chk variant, an ` +
			`indirect function itself, a part or copy that the compiler made, or named elsewhere ` +
			`in the description
`,
	} {
		_, err := description(t, "a.so\n@l\n"+lines+"\n").Expand(ulp.Expansion{}, target(t))
		if d := cmp.Diff(want, diag.Render(err, false)); !errors.Is(err, ulp.ErrNoMatch) ||
			d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

// A symbol table may hold any names. None gets lines of its own into the description.
func TestExpandHostileNames(t *testing.T) {
	lib, err := symtab.ParseCatalogue([]byte(`{"library": {
		"name": "l", "buildid": "0000000000000000000000000000000000000000", "arch": "x86_64",
		"resolvers": {"proof": 1, "list": [{"at": 9, "returns": [1, 2, 3, 4, 5, 6, 7, 8]}]},
		"symbols": [
		{"name": "f_1\n#counter:p", "offset": 1, "size": 1, "st_info": 18, "st_other": 0},
		{"name": "f_2:g", "offset": 2, "size": 1, "st_info": 18, "st_other": 0},
		{"name": "!f3", "offset": 3, "size": 1, "st_info": 18, "st_other": 0},
		{"name": "#f4", "offset": 4, "size": 1, "st_info": 18, "st_other": 0},
		{"name": "@f5", "offset": 5, "size": 1, "st_info": 18, "st_other": 0},
		{"name": "f_*6", "offset": 6, "size": 1, "st_info": 18, "st_other": 0},
		{"name": "f_ 7", "offset": 7, "size": 1, "st_info": 18, "st_other": 0},
		{"name": "f", "offset": 9, "size": 1, "st_info": 26, "st_other": 0},
		{"name": "f_8", "offset": 8, "size": 1, "st_info": 18, "st_other": 0}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := description(t, "a.so\n@l\nf_*:x\n").Expand(ulp.Expansion{}, lib)
	if err != nil || got.String() != "a.so\n@l\nf_8:x\n" {
		t.Errorf("%v, %v", got, err)
	}
}

// What Expand returns can be written and read again, whatever is inserted.
func FuzzExpand(f *testing.F) {
	f.Add([]byte("libc_GLIBCVER_{arch}.so\n@LIBC\n__copy_*:x\n"), "2.31", "150300.26.5",
		"libc.so.6")
	f.Add([]byte("a.so\n@{library}\n"), "", "", " x")
	f.Add([]byte("{version}\n@{library}\n[a-z]*:x\n"), "a:b.so", "\n", " x")
	f.Fuzz(func(t *testing.T, text []byte, version, release, library string) {
		d, err := ulp.ParseDescription("x.dsc", text)
		if err != nil {
			return
		}
		got, err := d.Expand(ulp.Expansion{Version: version, Release: release, Arch: symtab.X86_64,
			Target: library}, target(t))
		if err != nil {
			if _, ok := err.(diag.List); !ok || got != nil {
				t.Fatalf("%v, %T", got, err)
			}
			diag.Render(err, true)
			return
		}
		again, err := ulp.ParseDescription("x.dsc", []byte(got.String()))
		if err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if diff := cmp.Diff(got, again, sameDescription); diff != "" {
			t.Fatalf("%q (-was +is):\n%s", got, diff)
		}
		_ = ulp.Check(got, container(t), target(t), symtab.EntriesNOPs)
	})
}

func TestExpandBounds(t *testing.T) {
	patterns := "a.so\n@l\n" + strings.Repeat("__copy_*:x\n", 501)
	if _, err := description(t, patterns).Expand(ulp.Expansion{}, target(t)); !errors.Is(err,
		ulp.ErrPattern) {
		t.Errorf("501 patterns: %v", err)
	}
	var explode strings.Builder
	explode.WriteString("a.so\n@l\n")
	for i := range 500 {
		fmt.Fprintf(&explode, "f_*:x%d\n", i)
	}
	functions, cases := "", "" // enough to pass 10,000 with 500 patterns
	for i := range 25 {
		functions += fmt.Sprintf("int f_%d(void) { return %[1]d; }\n", i)
		cases += fmt.Sprintf("case %d: return f_%[1]d;", i)
	}
	functions += "static int n; static int (*choose(void))(void) { switch (n++) {" + cases +
		"}; return 0; }\n" +
		"int f(void) __attribute__((ifunc(\"choose\")));\n"
	lib := parseTarget(t, sharedObject(t, map[string]string{"f.c": functions}))
	if _, err := description(t, explode.String()).Expand(ulp.Expansion{}, lib); !errors.Is(err,
		ulp.ErrPattern) {
		t.Errorf("12,500 functions: %v", err)
	}
}

// Diagnostics of an expanded description point into the template.
func TestExpandKeepsPositions(t *testing.T) {
	d, err := description(t, "libt_{version}.so\n@{library}\n__copy_*:value_pl\n").Expand(
		ulp.Expansion{Version: "1", Target: "libt.so"}, target(t))
	if err != nil {
		t.Fatal(err)
	}
	want := `x.dsc:3:10: error: symbol "value_pl" is not in libt_1.so
    __copy_*:value_pl
             ^~~~~~~~
  hint: did you mean value_lp?
`
	if got := diag.Render(ulp.Check(d, container(t), target(t), symtab.EntriesNOPs),
		false); got != want { // once for both functions
		t.Errorf("got\n%s", got)
	}
}

// Expand changes nothing in its receiver.
func TestExpandLeavesTemplate(t *testing.T) {
	d := description(t, "a_{version}.so\n@LIBC\n__copy_*:value_lp\n#counter:ulpr_counter\n")
	before := d.String()
	words := map[string]string{"X": "y"}
	x := expansion
	x.Words = words
	got, err := d.Expand(x, target(t))
	if err != nil {
		t.Fatal(err)
	}
	got.References[0].TLS = true
	if d.String() != before || len(words) != 1 {
		t.Errorf("changed: %s, %v", d, slices.Collect(maps.Keys(words)))
	}
}

// TestExpandLeavesClonesOut: parts and copies that the compiler makes of a function do not match a
// pattern for it.
func TestExpandLeavesClonesOut(t *testing.T) {
	const symbol = `{"name":%q,"offset":%d,"size":16,"st_info":2,"st_other":0}`
	var rows []string
	var returns []string
	for i, name := range []string{"copy_a", "copy_a.cold", "copy_b.part.0", "copy_b.constprop.0",
		"copy_c.isra.1", "copy_d@@V_2", "copy_e"} {
		rows = append(rows, fmt.Sprintf(symbol, name, 4096+64*i))
		returns = append(returns, fmt.Sprint(4096+64*i))
	}
	rows = append(rows, `{"name":"copy","offset":64,"size":16,"st_info":26,"st_other":0}`)
	lib, err := symtab.ParseCatalogue([]byte(`{"library":{"name":"l.so","buildid":"` +
		strings.Repeat("ab", 20) + `","arch":"x86_64",` +
		`"resolvers":{"proof":1,"list":[{"at":64,"returns":[` + strings.Join(returns, ",") +
		`]}]},"symbols":[` + strings.Join(rows, ",") + `]}}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := description(t, "a.so\n@l.so\ncopy_*:value_lp\n").Expand(ulp.Expansion{}, lib)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("a.so\n@l.so\ncopy_a:value_lp\ncopy_e:value_lp\n", got.String()); d != "" {
		t.Errorf("expanded (-want +got):\n%s", d)
	}
}
