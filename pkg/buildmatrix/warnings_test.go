package buildmatrix

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lpbuild/lpbuild/pkg/buildmatrix/config"
)

// TestCodeThatLies: code that C compilers before GCC 14 only warn about, and that does something
// else than it says, makes no live patch, unless the package asks for it.
func TestCodeThatLies(t *testing.T) {
	for name, tc := range map[string]struct{ body, flag, why string }{
		"no prototype": {"int toy_add_lp(int a, int b) { char *p = helper(a); return *p + b; }",
			"implicit-function-declaration", "implicit declaration"},
		"no type": {"toy_add_lp(int a, int b) { return a + b; }", "implicit-int",
			"defaults to"},
		"int as pointer": {"int toy_add_lp(int a, int b) { char *p = a; return *p + b; }",
			"int-conversion", "makes pointer from integer"},
		"another pointer": {"int toy_add_lp(int a, int b) { short *p = &a; return *p + b; }",
			"incompatible-pointer-types", "incompatible pointer type"},
		"no result": {"int toy_add_lp(int a, int b) { if (a) return a + b; }", "return-type",
			"control reaches end"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newPackage(t, "1.0-1")
			f.write("toy_livepatch1.c", tc.body+"\n")
			r, err := f.build()
			if err == nil || r.Cells[0].Status != Failed ||
				!strings.Contains(reasonText(r), tc.why) {
				t.Fatalf("%v: %s", err, reasonText(r))
			}
			if where := r.Cells[0].Reasons[0].Where; !strings.HasPrefix(where,
				"toy_livepatch1.c:1:") {
				t.Errorf("where: %q", where)
			}
			if name == "no prototype" {
				return // the symbol is nowhere
			}
			f.edit("sources: [toy_livepatch1.c]",
				"sources: [toy_livepatch1.c]\n    cflags: [-Wno-error="+tc.flag+"]")
			if c := f.mustBuild().Cells[0]; codesOf(c.Notes) != "compiler-warning" ||
				!strings.Contains(c.Notes[0].Message, tc.why) {
				t.Errorf("taken back: %+v", c.Notes)
			}
		})
	}
}

// TestWarnings: a build whose compiler warns says so with each container, the same in each run,
// also in one that compiles nothing.
func TestWarnings(t *testing.T) {
	f := newPackage(t, "1.0-1", "1.0-2")
	f.write("toy_livepatch1.c", "#warning it is old\nint toy_add_lp(int a, int b) { return a + "+
		"b; }\n")
	first := f.mustBuild()
	for _, c := range first.Cells {
		if codesOf(c.Notes) != "compiler-warning" || !strings.Contains(c.Notes[0].Message,
			"toy_livepatch1.c:1:2: warning: #warning it is old") {
			t.Errorf("notes: %+v", c.Notes)
		}
	}
	second := f.mustBuild()
	if d := cmp.Diff(first.Cells[0].Notes, second.Cells[0].Notes); d != "" ||
		second.CompilerRuns != 0 {
		t.Errorf("%d compiler runs the second time; %s", second.CompilerRuns, d)
	}
	written, err := os.ReadFile(filepath.Join(f.dir, config.BuildDir, ReportName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(f.dir, config.BuildDir)); err != nil {
		t.Fatal(err)
	}
	f.mustBuild()
	if again, err := os.ReadFile(filepath.Join(f.dir, config.BuildDir, ReportName)); err != nil ||
		string(again) != string(written) {
		t.Errorf("%v: another report:\n%s\n%s", err, written, again)
	}
}
