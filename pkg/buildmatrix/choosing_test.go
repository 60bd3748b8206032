package buildmatrix

import (
	"strings"
	"testing"
)

// TestChoosing: a replacement of an implementation that only chooses one, as the code of an
// indirect function does, is refused, by its type.
func TestChoosing(t *testing.T) {
	const works = "int works(int a, int b) { return a > b ? a : b; }\n"
	for name, tc := range map[string]struct{ lines, source, hint string }{
		"a resolver": {"__toy_max_*:toy_max_lp",
			works + "int (*toy_max_lp(void))(int, int) { return works; }",
			"name works instead, which must not be static"},
		"without a prototype": {"__toy_max_*:toy_max_lp",
			works + "void *toy_max_lp() { return works; }",
			"name works instead, which must not be static"},
		"of a static function": {"__toy_max_*:toy_max_lp", "static " + works +
			"void *toy_max_lp() { return works; }", "name works instead, which must not be static"},
		"by a name of the type": {"__toy_max_*:toy_max_lp", works + "typedef int type(int, int); " +
			"typedef type *named;\nconst named toy_max_lp(void) { return works; }",
			"name works instead, which must not be static"},
		"one of two": {"__toy_max_*:toy_max_lp", works + "int more(int a, int b) { " +
			"return a + b; }\nextern int volatile toy_counter;\nint (*toy_max_lp(void))(int, " +
			"int) { return toy_counter ? more : works; }",
			"name more or works instead, which must not be static"},
		"an implementation": {"__toy_max_*:toy_max_lp",
			"int toy_max_lp(int a, int b) { return a > b ? a : b; }", ""},
		"that returns data": {"__toy_max_*:toy_max_lp", "static const int table[4] = {1};\n" +
			"const void *toy_max_lp(void) { return table; }", ""},
		"that makes a call": {"__toy_max_*:toy_max_lp", works + "extern void *malloc(unsigned " +
			"long);\nvoid *toy_max_lp(void) { return malloc((unsigned long)works); }", ""},
		"with a parameter": {"__toy_max_*:toy_max_lp",
			works + "void *toy_max_lp(int a) { return a ? works : 0; }", ""},
		"of another function": {"toy_add:toy_add_lp",
			works + "void *toy_add_lp(void) { return works; }", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
				tc.lines+"\n")
			f.write("toy_livepatch1.c", tc.source+"\n")
			for range 2 { // the second time nothing is compiled
				r, err := f.build()
				switch {
				case tc.hint == "" && err != nil:
					t.Errorf("%v: %s", err, reasonText(r))
				case tc.hint == "":
				case err == nil || codesOf(r.Cells[0].Reasons) != "resolver" ||
					!strings.Contains(r.Cells[0].Reasons[0].Message,
						"the indirect function toy_max") ||
					!strings.Contains(r.Cells[0].Reasons[0].Hint, tc.hint):
					t.Errorf("%v: %s", err, reasonText(r))
				}
			}
		})
	}
}
