package buildmatrix

import (
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/buildmatrix/gate"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestOriginals builds live patches that call the former code of what they replace, and refuses
// those that could not.
func TestOriginals(t *testing.T) {
	for name, tc := range map[string]struct{ lines, source, code, message, hint string }{
		"by its name": {"toy_add:toy_add_lp", "int (*lpbuild_original_toy_add)(int, int); int " +
			"toy_add_lp(int a, int b) { return lpbuild_original_toy_add(a, b) + 1; }", "", "", ""},
		"by another one": {"toy_add:toy_add_lp", "int (*lpbuild_original_toy_plus)(int, int); " +
			"int toy_add_lp(int a, int b) { return lpbuild_original_toy_plus(a, b) + 1; }", "", "",
			""},
		"private": {"hidden:hidden_lp", "int (*lpbuild_original_hidden)(int); int hidden_lp(int " +
			"n) { return lpbuild_original_hidden(n) + 1; }", "", "", ""},
		"chosen": {"__toy_max_*:toy_max_lp\n#__toy_max_fast:lpbuild_original_max",
			"int (*lpbuild_original_max)(int, int); int toy_max_lp(int a, int b) { return " +
				"lpbuild_original_max(a, b) + 1; }", "", "", ""},
		"static": {"toy_add:toy_add_lp", "static int (*lpbuild_original_toy_add)(int, int);\nint " +
			"toy_add_lp(int a, int b) { return lpbuild_original_toy_add(a, b) + 1; }",
			"original", "the compiler has left out the pointer lpbuild_original_toy_add",
			"without static"},
		"static, and volatile": {"toy_add:toy_add_lp",
			"static int (*volatile lpbuild_original_toy_add)(int, int);\nint toy_add_lp(int a, " +
				"int b) { return lpbuild_original_toy_add(a, b) + 1; }", "", "", ""},
		"said only": {"toy_add:toy_add_lp", "int (*lpbuild_original_toy_add)(int, int); static " +
			"const char *const text = \"static lpbuild_original_x\";\n" +
			"static int helps(int a) { return lpbuild_original_toy_add(a, *text); } int " +
			"toy_add_lp(int a, int b) { return helps(a + b); }", "", "", ""},
		"prototype": {"toy_add:toy_add_lp", "int lpbuild_original_toy_add(int, int); int " +
			"toy_add_lp(int a, int b) { return lpbuild_original_toy_add(a, b) + 1; }",
			"original", "declared in the source of libtoy_1.0-1_livepatch1.so but not defined",
			"__typeof__(toy_add) *lpbuild_original_toy_add;"},
		"another function's": {"toy_add:toy_add_lp", "int (*lpbuild_original_toy_sub)(int, int); " +
			"int toy_add_lp(int a, int b) { return lpbuild_original_toy_sub(a, b) + 1; }",
			"original", "the live patch does not replace", "call toy_sub itself"},
		"by the function's own name": {"toy_add:toy_add_lp", "int toy_add(int, int); int " +
			"toy_add_lp(int a, int b) { return toy_add(a, b) + 1; }",
			"recursion", "toy_add_lp → toy_add → toy_add_lp",
			"define a pointer lpbuild_original_toy_add"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
				tc.lines+"\n")
			f.write("toy_livepatch1.c", tc.source+"\n")
			for range 2 { // the second time nothing is compiled
				r, err := f.build()
				c := r.Cells[0]
				if tc.code == "" {
					if err != nil ||
						!slices.Equal(c.Engines, []string{gate.EnginePulp, gate.EngineNative}) {
						t.Fatalf("%v, %q: %s", err, c.Engines, reasonText(r))
					}
					continue
				}
				if err == nil || len(c.Reasons) != 1 || c.Reasons[0].Code != tc.code ||
					!strings.Contains(c.Reasons[0].Message, tc.message) ||
					!strings.Contains(c.Reasons[0].Hint, tc.hint) {
					t.Fatalf("%v: %+v", err, c.Reasons)
				}
			}
		})
	}
}

// TestOriginalHidden: link-time optimisation takes hidden pointers for zero, and leaves those alone
// that others may see.
func TestOriginalHidden(t *testing.T) {
	for flags, built := range map[string]bool{"-flto=1, -fvisibility=hidden": false,
		"-flto=1": true, "-fvisibility=hidden": true} {
		f := newPackage(t, "1.0-1")
		f.write("toy_livepatch1.c", "int (*lpbuild_original_toy_add)(int, int);\n"+
			"__attribute__((visibility(\"default\"))) int toy_add_lp(int a, int b) { return "+
			"lpbuild_original_toy_add(a, b) + 1; }\n")
		f.edit("library: libtoy.so.1", "library: libtoy.so.1\n    cflags: ["+flags+"]")
		r, err := f.build()
		if (err == nil) != built || !built && (len(r.Cells[0].Reasons) != 1 ||
			r.Cells[0].Reasons[0].Code != "original") {
			t.Errorf("%s: %v: %s", flags, err, reasonText(r))
		}
	}
}

// TestOriginalOnOther: on ppc64le former code cannot be called.
func TestOriginalOnOther(t *testing.T) {
	f := newPackage(t)
	f.addBuild("1.0-1", symtab.PPC64LE, 1)
	f.edit("arch: [x86_64]", "arch: [ppc64le]")
	f.write("toy_livepatch1.c", "int (*lpbuild_original_toy_add)(int, int); int toy_add_lp(int "+
		"a, int b) { return lpbuild_original_toy_add(a, b) + 1; }\n")
	r, err := f.build()
	if err == nil || len(r.Cells) != 1 || len(r.Cells[0].Reasons) != 1 ||
		r.Cells[0].Reasons[0].Code != "original" ||
		!strings.Contains(r.Cells[0].Reasons[0].Message, "x86_64 only, not on ppc64le") {
		t.Errorf("%v: %s", err, reasonText(r))
	}
}
