package compile

import (
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// TestOriginalsToSee: in which sources a pointer is one that the compiler may take for zero.
func TestOriginalsToSee(t *testing.T) {
	for source, want := range map[string]string{
		"static int (*lpbuild_original_f)(void);":                                          "f",
		"int x;\nstatic __typeof__(f)\n *lpbuild_original_f, *lpbuild_original_g;":         "f",
		"static\n# 12 \"x.h\"\nint (*lpbuild_original_f)(void);":                           "f",
		"namespace { int y; int (*lpbuild_original_f)(); }":                                "f",
		"int (*lpbuild_original_f)(void);":                                                 "",
		"extern int (*lpbuild_original_f)(void); static int g(void) { return 1; }":         "",
		"static int g(void) { return lpbuild_original_f(); }":                              "",
		"static int (**g)(void) = &lpbuild_original_f;":                                    "",
		"static int g; int (*lpbuild_original_f)(void);":                                   "",
		"static const char *g = \"lpbuild_original_f\";":                                   "",
		"namespace { int g() { return lpbuild_original_f(); } }":                           "",
		"#define g() static lpbuild_original_f()\n":                                        "",
		"namespace a { int (*lpbuild_original_f)(); }":                                     "",
		"static char g[] = {'\"', 1}; static int h; int (*lpbuild_original_f)(void); \"\"": "",
	} {
		got := strings.ReplaceAll(strings.Join(originalsToSee([]byte(source), nil), " "),
			ulp.OriginalPrefix, "")
		if got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
