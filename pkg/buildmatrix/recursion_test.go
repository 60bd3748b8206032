package buildmatrix

import (
	"strings"
	"testing"
)

// TestRecursion: a replacement that comes back to itself by the function that it replaces is
// refused, however it gets there, with the chain of calls.
func TestRecursion(t *testing.T) {
	const declares = "int toy_add(int, int), toy_sub(int, int), toy_plus(int, int); int volatile " +
		"sink;\n"
	for name, tc := range map[string]struct{ lines, source, chain string }{
		"directly": {"toy_add:toy_add_lp", "int toy_add_lp(int a, int b) { return toy_add(a, b) " +
			"+ 1; }", "toy_add_lp → toy_add → toy_add_lp"},
		"by a static function": {"toy_add:toy_add_lp", "static __attribute__((noinline)) int " +
			"helps(int a) { return toy_add(a, sink); }\nint toy_add_lp(int a, int b) { return " +
			"helps(a) + b; }", "toy_add_lp → helps → toy_add → toy_add_lp"},
		"by a pointer": {"toy_add:toy_add_lp", "static int (*const table[])(int, int) = " +
			"{toy_sub, toy_add};\nint toy_add_lp(int a, int b) { return table[sink & 1](a, b); }",
			"toy_add_lp → toy_add → toy_add_lp"},
		"by each other": {"toy_add:toy_add_lp\ntoy_sub:toy_sub_lp",
			"int toy_add_lp(int a, int b) { return toy_sub(a, b); }\nint toy_sub_lp(int a, int " +
				"b) { return toy_add(a, b); }", "toy_add_lp → toy_sub → toy_sub_lp → toy_add → " +
				"toy_add_lp"},
		"by another name": {"toy_add:toy_add_lp", "int toy_add_lp(int a, int b) { return " +
			"toy_plus(a, b) + 1; }", "toy_add_lp → toy_plus → toy_add_lp"},
		"by the indirect one": {"__toy_max_*:toy_max_lp", "int toy_max(int, int); int " +
			"toy_max_lp(int a, int b) { return toy_max(a, b); }",
			"toy_max_lp → toy_max → toy_max_lp"},
		"another function": {"toy_add:toy_add_lp",
			"int toy_add_lp(int a, int b) { return toy_sub(a, b); }", ""},
		"of another one": {"toy_add:toy_add_lp\ntoy_sub:toy_sub_lp",
			"int toy_add_lp(int a, int b) { return a + b + 9; }\nint toy_sub_lp(int a, int b) { " +
				"return toy_add(a, b); }", ""},
		"by its own name": {"toy_add:toy_add_lp", "int toy_add_lp(int a, int b) { return a ? " +
			"toy_add_lp(a - 1, b) + sink : b; }", ""},
		"its former code": {"toy_add:toy_add_lp", "int (*lpbuild_original_toy_add)(int, " +
			"int);\nint toy_add_lp(int a, int b) { return lpbuild_original_toy_add(a, b) + 1; }",
			""},
		"beside its former code": {"toy_add:toy_add_lp", "int (*lpbuild_original_toy_add)(int, " +
			"int);\nstatic __attribute__((noinline)) int helps(int a) { return toy_add(a, sink); " +
			"}\nint toy_add_lp(int a, int b) { return lpbuild_original_toy_add(a, b) + helps(a); }",
			"toy_add_lp → helps → toy_add → toy_add_lp"},
		"that nobody calls": {"toy_add:toy_add_lp", "int other(int a) { return toy_add(a, 1); }\n" +
			"int toy_add_lp(int a, int b) { return a + b; }", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1", "2.0-1")
			f.write("toy_livepatch1.in", "libtoy_{version}-{release}_livepatch1.so\n@{library}\n"+
				tc.lines+"\n")
			f.write("toy_livepatch1.c", declares+tc.source+"\n")
			for range 2 { // the second time nothing is compiled
				r, err := f.build()
				if tc.chain == "" {
					if err != nil {
						t.Fatalf("%v: %s", err, reasonText(r))
					}
					continue
				}
				if err == nil || len(r.Cells[0].Reasons) == 0 ||
					r.Cells[0].Reasons[0].Code != "recursion" ||
					!strings.Contains(r.Cells[0].Reasons[0].Message, ": "+tc.chain) ||
					r.Cells[0].Reasons[0].Where == "" {
					t.Fatalf("%v: %s; want %s", err, reasonText(r), tc.chain)
				}
			}
		})
	}
}

// TestAddressTaken: a replacement that takes the address of what it replaces may skip the detour,
// so the patch can accept that, but no call.
func TestAddressTaken(t *testing.T) {
	const skips = "int toy_add_lp(int a, int b) { int (*former)(int, int) = (int (*)(int, " +
		"int))((char *)toy_add + 2); return former(a, b); }"
	for name, tc := range map[string]struct {
		source, accept, message string
	}{
		"address": {skips, "", "takes the address of the function that it replaces, and a call " +
			"by that would lead back to it: toy_add_lp → toy_add → toy_add_lp"},
		"accepted": {skips, "it skips the detour", ""},
		"call, accepted": {"int toy_add_lp(int a, int b) { return toy_add(a, b) + 1; }",
			"it skips the detour", "calls the function that it replaces"},
		"both, accepted": {"int more(int a) { return a ? toy_add(a, a) : 0; }\n" +
			strings.Replace(skips, "return former(a, b)", "return more(former(a, b))", 1),
			"it skips the detour", "calls the function that it replaces"},
		"in a variable": {"int (*const volatile kept)(int, int) = toy_add;\nint " +
			"toy_add_lp(int a, int b) { return kept == 0 ? a : b; }", "it is not called", ""},
		"jump": {"int toy_add_lp(int a, int b) { return toy_add(b, a); }",
			"it skips the detour", "calls the function that it replaces"},
		"call without PLT": {"__attribute__((noplt)) int toy_add(int, int);\nint toy_add_lp(int " +
			"a, int b) { return toy_add(b, a) + 1; }", "it skips the detour",
			"calls the function that it replaces"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			if tc.accept != "" {
				f.edit("    sources:", "    recursion: {accept: "+tc.accept+"}\n    sources:")
			}
			f.write("toy_livepatch1.c", "int toy_add(int, int);\n"+tc.source+"\n")
			r, err := f.build()
			switch n := r.Cells[0].Notes; {
			case tc.message == "" && err != nil:
				t.Errorf("%v: %s", err, reasonText(r))
			case tc.message == "" &&
				(len(n) == 0 || !strings.HasSuffix(n[0].Message, "; accepted: "+tc.accept)):
				t.Errorf("notes %+v", n)
			case tc.message != "" && (err == nil || !strings.Contains(r.Cells[0].Reasons[0].Message,
				tc.message)):
				t.Errorf("%v: %s", err, reasonText(r))
			}
		})
	}
}
