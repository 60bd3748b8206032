package ulp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// sameDescription compares descriptions by what they say, not where.
var sameDescription = cmp.Options{
	cmpopts.IgnoreUnexported(ulp.Description{}), cmpopts.EquateEmpty(),
	cmp.Transformer("noPos", func(diag.Pos) struct{} { return struct{}{} }),
}

const fullDescription = `! CVE-2024-2961, bsc#1222992
libc_2.31-150300.26.5_livepatch1.so

@/lib64/libc.so.6
!second
__libc_malloc:malloc_lp
free:free_lp
#main_arena:ulpr_main_arena
#mp_:ulpr_mp:1c3a00:0x4060
#%errno:ulpr_errno:10:4070
#%tcache:ulpr_tcache
`

func at(line, column int) diag.Pos { return diag.Pos{File: "x.dsc", Line: line, Column: column} }

func name(text string, line, column int) ulp.Name {
	return ulp.Name{Text: text, Pos: at(line, column)}
}

func TestParseDescription(t *testing.T) {
	want := &ulp.Description{
		File:      "x.dsc",
		Comments:  []string{" CVE-2024-2961, bsc#1222992", "second"},
		Container: name("libc_2.31-150300.26.5_livepatch1.so", 2, 1),
		Target:    name("/lib64/libc.so.6", 4, 2),
		Functions: []ulp.Replacement{
			{Old: name("__libc_malloc", 6, 1), New: name("malloc_lp", 6, 15)},
			{Old: name("free", 7, 1), New: name("free_lp", 7, 6)},
		},
		References: []ulp.Reference{
			{Variable: name("main_arena", 8, 2), Pointer: name("ulpr_main_arena", 8, 13),
				Pos: at(8, 1)},
			{Variable: name("mp_", 9, 2), Pointer: name("ulpr_mp", 9, 6), Explicit: true,
				TargetOffset: 0x1c3a00, PatchOffset: 0x4060, Pos: at(9, 1)},
			{Variable: name("errno", 10, 3), Pointer: name("ulpr_errno", 10, 9), TLS: true,
				Explicit: true, TargetOffset: 0x10, PatchOffset: 0x4070, Pos: at(10, 1)},
			{Variable: name("tcache", 11, 3), Pointer: name("ulpr_tcache", 11, 10), TLS: true,
				Pos: at(11, 1)},
		},
	}
	for what, text := range map[string]string{
		"LF":          fullDescription,
		"CRLF":        strings.ReplaceAll(fullDescription, "\n", "\r\n"),
		"no last end": strings.TrimSuffix(fullDescription, "\n"),
	} {
		got, err := ulp.ParseDescription("x.dsc", []byte(text))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(ulp.Description{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", what, d)
		}
	}
}

func TestParseDescriptionAccepts(t *testing.T) {
	for what, text := range map[string]string{
		"nothing to replace":                   "a.so\n@l\n",
		"path of the container":                "/tmp/a b.so\n@l\n",
		"pattern that looks like a dependency": "a.so\n@l\n*alloc:malloc_lp\n",
		"comment between":                      "\n\n!\n!x\na.so\n!y\n\n@l\n!z\nf:g\n!",
		"template": "libc_GLIBCVER_livepatch1.so\n@LIBC\n" +
			"__memcpy_*:memcpy_lp\n",
		"offset zero":                "a.so\n@l\n#%v:p:0:0\n",
		"names with bytes above 127": "a.so\n@l\nfünf:fünf_lp\n",
	} {
		if _, err := ulp.ParseDescription("x.dsc", []byte(text)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParseDescriptionErrors(t *testing.T) {
	const head = "a.so\n@l\n"
	tests := map[string]struct {
		text   string
		want   string // the diagnostics, one per line
		length int    // of the first one; 0: not asked
	}{
		"empty file": {"", "x.dsc: error: no container is named\nx.dsc: error: no target is " +
			"named", 0},
		"comments only": {"!a\n\n!b", "x.dsc: error: no container is named\nx.dsc: error: no " +
			"target is named", 0},
		"no target": {"a.so\n", "x.dsc: error: no target is named", 0},
		"target first": {"@l\na.so\n", "x.dsc:1:1: error: expected the name of the " +
			"container\nx.dsc:2:1: error: the container has to be named before everything else", 2},
		"function first": {"f:g\n" + "@l\n", "x.dsc:1:1: error: expected the name of the " +
			"container\nx.dsc:1:1: error: this line stands before the target's", 3},
		"function too early": {"a.so\nf:g\nh:i\n@l\n",
			"x.dsc:2:1: error: this line stands before the target's", 3},
		"reference too early": {"a.so\n#f:g\n",
			"x.dsc:2:1: error: this line stands before the target's", 4},
		"two containers": {"a.so\nb.so\n@l\n", "x.dsc:2:1: error: second container: a " +
			"description makes one live patch", 4},
		"late container": {head + "f:g\nb.so\n", "x.dsc:4:1: error: second container: a " +
			"description makes one live patch", 4},
		"two targets": {head + "@m\n", "x.dsc:3:1: error: second target: a live patch changes " +
			"one library", 2},
		"empty target": {"a.so\n@\nf:g\n",
			"x.dsc:2:2: error: expected the path of the library", 1},
		"dependency": {"a.so\n*b.ulp\n@l\n", "x.dsc:2:1: error: dependencies on other live " +
			"patches are not supported", 6},
		"missing colon": {head + "malloc\n", `x.dsc:3:7: error: expected ":" and the name ` +
			`of the replacement`, 1},
		"old name empty": {head + ":g\n", "x.dsc:3:1: error: expected the name of the " +
			"function to replace", 1},
		"new name empty": {head + "f:\n",
			"x.dsc:3:3: error: expected the name of the replacement", 1},
		"both empty": {head + ":\n", "x.dsc:3:1: error: expected the name of the function to " +
			"replace\nx.dsc:3:2: error: expected the name of the replacement", 1},
		"second colon": {head + "f:g:h\n", `x.dsc:3:4: error: second ":" in the line`, 2},
		"double colon": {head + "f::g\n", "x.dsc:3:3: error: second \":\" in the line\n" +
			"x.dsc:3:3: error: expected the name of the replacement", 2},
		"blank behind": {head + "f:g \n", "x.dsc:3:4: error: blank or control character in " +
			"the name of the replacement", 1},
		"blank in front": {head + " f:g\n", "x.dsc:3:1: error: blank or control character in " +
			"the name of the function to replace", 1},
		"tab": {head + "f\t:g\n", "x.dsc:3:2: error: blank or control character in the name of " +
			"the function to replace", 1},
		"line of blanks": {head + "   \nf:g\n", "x.dsc:3:1: error: line of blanks", 3},
		"carriage return": {head + "f:g\rh\n", "x.dsc:3:4: error: blank or control character " +
			"in the name of the replacement", 1},
		"NUL":              {head + "f:g\x00h\n", "x.dsc:3:4: error: NUL byte in a text file", 1},
		"NUL in a comment": {"!CVE\x00\n" + head, "x.dsc:1:5: error: NUL byte in a text file", 1},
		"byte order mark": {"\ufeffa.so\n@l\n", "x.dsc:1:1: error: byte order mark at the " +
			"start of the line", 0},
		"container control": {"a\x01.so\n@l\n",
			"x.dsc:1:2: error: control character in a file name", 1},
		"container blank": {"a.so  \n@l\n", "x.dsc:1:5: error: blank at the start or end of a " +
			"file name", 1},
		"target blank": {"a.so\n@ l\n", "x.dsc:2:2: error: blank at the start or end of a " +
			"file name", 1},
		"comment with #": {head + "# a note\n", `x.dsc:3:9: error: expected ":" and the name ` +
			`of the pointer`, 1},
		"variable empty": {head + "#:p\n", "x.dsc:3:2: error: expected the name of the " +
			"variable in the target", 1},
		"TLS variable empty": {head + "#%:p\n", "x.dsc:3:3: error: expected the name of the " +
			"variable in the target", 1},
		"pointer empty": {head + "#v:\n", "x.dsc:3:4: error: expected the name of the pointer " +
			"in the container", 1},
		"one offset": {head + "#v:p:10\n", `x.dsc:3:8: error: expected ":" and the offset ` +
			`of the pointer in the container`, 1},
		"three offsets": {head + "#v:p:1:2:3\n", `x.dsc:3:9: error: ":" behind the last offset`,
			2},
		"offset not hex": {head + "#v:p:1g:2\n", "x.dsc:3:6: error: expected the offset of the " +
			"variable in the target in hexadecimal", 2},
		"offset negative": {head + "#v:p:1:-2\n", "x.dsc:3:8: error: expected the offset of the " +
			"pointer in the container in hexadecimal", 2},
		"offset too large": {head + "#v:p:8000000000000000:2\n", "x.dsc:3:6: error: expected the " +
			"offset of the variable in the target in hexadecimal", 16},
		"offset empty": {head + "#v:p::2\n", "x.dsc:3:6: error: expected the offset of the " +
			"variable in the target in hexadecimal", 1},
		"everything in one run": {"a.so\n@l\nmalloc\nf:\n@m\n#v\n",
			"x.dsc:3:7: error: expected \":\" and the name of the replacement\nx.dsc:4:3: error: " +
				"expected the name of the replacement\n" +
				"x.dsc:5:1: error: second target: a live patch changes one library\nx.dsc:6:3: " +
				"error: expected \":\" and the name of the pointer", 1},
	}
	for what, tc := range tests {
		t.Run(what, func(t *testing.T) {
			got, err := ulp.ParseDescription("x.dsc", []byte(tc.text))
			if err == nil || got != nil {
				t.Fatalf("got %v, %v", got, err)
			}
			if d := cmp.Diff(tc.want, err.Error()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			list := err.(diag.List)
			if tc.length != 0 && list[0].Length != tc.length {
				t.Errorf("underlines %d bytes, want %d:\n%s", list[0].Length, tc.length,
					diag.Render(err, false))
			}
			for _, d := range list {
				if !errors.Is(d, ulp.ErrSyntax) {
					t.Errorf("%v is no ErrSyntax", d)
				}
			}
		})
	}
}

// What is right in a description with mistakes is there anyway.
func TestParsePartialDescription(t *testing.T) {
	d, err := ulp.ParsePartialDescription("x.dsc",
		[]byte("a.so\nf\n@lib.so\ng:g_lp\n#v:p:1\n#w:q\nh:\n"))
	list, _ := errors.AsType[diag.List](err)
	if len(list) != 3 || d.Container.Text != "a.so" || d.Target.Text != "lib.so" ||
		len(d.Functions) != 1 || d.Functions[0].New.Text != "g_lp" ||
		len(d.References) != 1 || d.References[0].Pointer.Text != "q" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := ulp.ParsePartialDescription("x.dsc", make([]byte, 2<<20)); d == nil ||
		!errors.Is(err, ulp.ErrSyntax) {
		t.Errorf("too large: %v, %v", d, err)
	}
}

func TestParseDescriptionRender(t *testing.T) {
	_, err := ulp.ParseDescription("x.dsc", []byte("a.so\n@l\nfoo:bar:baz\n"))
	want := `x.dsc:3:8: error: second ":" in the line
    foo:bar:baz
           ^~~~
  hint: write OLD:NEW; a line for a variable begins with #
`
	if d := cmp.Diff(want, diag.Render(err, false)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParseDescriptionBounds(t *testing.T) {
	lines := func(n int) []byte {
		b := []byte("a.so\n@l\n")
		for i := range n - 2 {
			b = fmt.Appendf(b, "f%d:g\n", i)
		}
		return b
	}
	if d, err := ulp.ParseDescription("x.dsc", lines(10_000)); err != nil ||
		len(d.Functions) != 9_998 {
		t.Errorf("10,000 lines: %v", err)
	}
	_, err := ulp.ParseDescription("x.dsc", lines(10_001))
	if want := "x.dsc:10001:1: error: more than 10000 lines with content"; err == nil ||
		err.Error() != want {
		t.Errorf("10,001 lines: %v, want %s", err, want)
	}
	comments := append([]byte(strings.Repeat("!\n", 20_000)), lines(10)...)
	if _, err := ulp.ParseDescription("x.dsc", comments); err != nil {
		t.Errorf("comments count as content: %v", err)
	}
	big := append(lines(10), "!"+strings.Repeat("x", 1<<20-len(lines(10))-1)...)
	if _, err := ulp.ParseDescription("x.dsc", big); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	if _, err := ulp.ParseDescription("x.dsc", append(big, 'x')); !errors.Is(err, ulp.ErrSyntax) {
		t.Errorf("1 MiB and a byte: %v", err)
	}
}

// Every prefix of a description is read or refused; none panics, and what is read round-trips.
func TestParseDescriptionTruncated(t *testing.T) {
	for n := range len(fullDescription) {
		checkRoundTrip(t, []byte(fullDescription[:n]))
	}
}

func checkRoundTrip(t *testing.T, text []byte) {
	t.Helper()
	d, err := ulp.ParseDescription("x.dsc", text)
	if err != nil {
		list, ok := err.(diag.List)
		if !ok || len(list) == 0 || d != nil {
			t.Fatalf("%q: %v, %T", text, d, err)
		}
		diag.Render(err, true)
		return
	}
	again, err := ulp.ParseDescription("x.dsc", []byte(d.String()))
	if err != nil {
		t.Fatalf("%q: canonical form %q: %v", text, d, err)
	}
	if diff := cmp.Diff(d, again, sameDescription); diff != "" {
		t.Fatalf("%q: canonical form differs (-was +is):\n%s", text, diff)
	}
}

func FuzzParseDescription(f *testing.F) {
	f.Add([]byte(fullDescription))
	f.Add([]byte("a.so\r\n@l\r\nf:g\r\n"))
	f.Add([]byte("@l\na.so\n:\n::\n#\n#%:::\n*x\n!\n\ufeff\n"))
	f.Add([]byte("a.so\n@l\n#%v:p:ffff:7fffffffffffffff\n"))
	f.Fuzz(checkRoundTrip)
}
