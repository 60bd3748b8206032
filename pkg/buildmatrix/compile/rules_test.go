package compile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMakeRule(t *testing.T) {
	for rule, want := range map[string]string{
		"c.o: z.s a\\ b.bin \\\n c.c /tmp/x.s\n": "z.s|a b.bin|c.c|/tmp/x.s",
		"c.o: a$$b\\#c\nnext: no\n":              "a$b#c",
		"c.o:\n":                                 "",
		"":                                       "",
	} {
		if got := strings.Join(makeRule(rule), "|"); got != want {
			t.Errorf("makeRule(%q) = %q, want %q", rule, got, want)
		}
	}
}

func TestLinkerRule(t *testing.T) {
	for rule, want := range map[string]string{
		"out.so: \\\n  /usr/lib/crti.o \\\n  my lib.a\n\n" +
			"/usr/lib/crti.o:\n": "/usr/lib/crti.o|my lib.a",
		"out.so: \\\n": "", "": "",
	} {
		if got := strings.Join(linkerRule(rule), "|"); got != want {
			t.Errorf("linkerRule(%q) = %q, want %q", rule, got, want)
		}
	}
}

func TestIncludedFiles(t *testing.T) {
	text := "# 0 \"a.c\"\n# 1 \"<built-in>\"\n# 1 \"/usr/include/stdio.h\" 1 3 4\nint x;\n# 2 " +
		"\"/work dir/a \\\"b\\\".h\" 1\n# nonsense\n# 1 \"dir//\"\n"
	got := strings.Join(includedFiles([]byte(text)), "|")
	if want := `/usr/include/stdio.h|/work dir/a "b".h|a.c`; got != want {
		t.Errorf("includedFiles = %s, want %s", got, want)
	}
}

// FuzzCompilerOutput reads what compilers, assemblers and linkers print: whatever it is, no name is
// empty.
func FuzzCompilerOutput(f *testing.F) {
	f.Add("# 1 \"a.c\" 1\nint x;\n# 0 \"<built-in>\"\n# 2 \"dir//\"\n", "a.c")
	f.Add("out.so: \\\n  /usr/lib/crti.o \\\n  my\\ lib.a $$x\n\n", "x")
	f.Add(" /usr/lib/cc1 -E\n#include <...> search starts here:\n /usr/include\nEnd of search "+
		"list.\nCOMPILER_PATH=/a/:b\nCOLLECT_GCC=gcc\n", "")
	f.Fuzz(func(t *testing.T, text, name string) {
		names := slices.Concat(includedFiles([]byte(text)), makeRule(text), linkerRule(text))
		if slices.Contains(names, "") {
			t.Fatalf("an empty name in %q", names)
		}
		if pos := includer([]byte(text), name); pos.Line < 0 {
			t.Fatalf("%q is included at %v", name, pos)
		}
		asksForBuild([]byte(text))
		s := survey{Tools: map[string]string{}}
		s.read(text)
		if slices.ContainsFunc(s.Own, func(dir string) bool {
			return !filepath.IsAbs(dir) ||
				dir == "/"
		}) {
			t.Fatalf("own directories %q", s.Own)
		}
	})
}

// TestWarningsText leaves out what differs each time.
func TestWarningsText(t *testing.T) {
	const said, want = "/usr/bin/ld: /tmp/ccABC123.o: missing .note\n",
		"/usr/bin/ld: an object file: missing .note"
	if got := warnings([]byte(said)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestAbsentLibraries leaves out what the linker would find already.
func TestAbsentLibraries(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one/libm.so", "two/libm.a"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := absentLibraries(dir, []string{"/usr/lib/libm.a", "/usr/lib/crt1.o"},
		[]string{"-Lone", "-L", "two", "-L/usr/lib", "-L../above"})
	if d := cmp.Diff([]string{"one/libm.a", "two/libm.so"}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
