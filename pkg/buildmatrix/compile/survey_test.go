package compile

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSurvey reads what compilers print of themselves.
func TestSurvey(t *testing.T) {
	gcc, err := filepath.EvalSymlinks("/usr/bin/gcc")
	if err != nil {
		t.Fatal(err)
	}
	s := survey{Tools: map[string]string{}}
	s.read("Using built-in specs.\nCOLLECT_GCC=/usr/bin/gcc\nConfigured with: ../src/configure " +
		"--with-pkgversion='x'\n" +
		" \"/bin/sh\" -cc1 -v\nignoring nonexistent directory \"none/inc\"\n" +
		"#include \"...\" search starts here:\n quoted\n#include <...> search starts here:\n " +
		"inc/../inc\n /usr/lib/x/../include\nEnd of search list.\n" +
		"COMPILER_PATH=/opt/gcc/bin/:/opt/gcc/libexec/\nLIBRARY_PATH=/opt/gcc/lib/:relative\n")
	if d := cmp.Diff([]string{"none/inc", "quoted", "inc", "/usr/lib/include"}, s.Search); d != "" {
		t.Errorf("search (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"/usr/lib/include", "/opt/gcc/bin", "/opt/gcc/libexec",
		"/opt/gcc/lib"}, s.Own); d != "" {
		t.Errorf("own directories (-want +got):\n%s", d)
	}
	if !strings.HasPrefix(s.Tools["/usr/bin/gcc"], gcc+" ") || s.Tools["/bin/sh"] == "" ||
		!s.holds() {
		t.Errorf("tools are %v", s.Tools)
	}
	s.Tools["/bin/sh"] = "another one"
	if s.holds() {
		t.Error("another program is not noticed")
	}
	if (&survey{}).holds() {
		t.Error("a survey of nothing holds")
	}
}
