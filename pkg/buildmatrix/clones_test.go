package buildmatrix

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compileClones returns libtoy with a copy of toy_add, by a name as GCC gives it.
func compileClones(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "toy.c"), `static int copy(int) __asm__("toy_add.constprop.0");
__attribute__((noinline)) static int copy(int a) { return a * 3; }
__attribute__((noinline)) int toy_add(int a, int b) { return a + b; }
int toy_three(int a) { return copy(a) + copy(a + 1); }
`)
	cmd := exec.Command("gcc", "-O2", "-fPIC", "-shared", "-fpatchable-function-entry=16,14",
		"-Wl,--build-id=sha1", "-Wl,-soname,libtoy.so.1", "-o", "libtoy.so.1", "toy.c")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	image, err := os.ReadFile(filepath.Join(dir, "libtoy.so.1"))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// TestClones: what the compiler made of a replaced function is replaced as well, or the patch says
// why not.
func TestClones(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.setLibrary(0, compileClones(t), true)
	r, err := f.build()
	if err == nil || codesOf(r.Cells[0].Reasons) != "clones" ||
		!strings.Contains(r.Cells[0].Reasons[0].Message, "but not toy_add.constprop.0") {
		t.Fatalf("%v: %s", err, reasonText(r))
	}
	f.edit("    sources:", "    clones: {accept: toy_three is not affected}\n    sources:")
	r = f.mustBuild()
	if n := r.Cells[0].Notes; codesOf(n) != "clones" || !strings.HasSuffix(n[0].Message,
		"; accepted: toy_three is not affected") {
		t.Errorf("%+v", n)
	}
	f.edit("    clones: {accept: toy_three is not affected}\n", "")
	f.replaces("toy_add", "toy_add.constprop.0")
	f.mustBuild()
}
