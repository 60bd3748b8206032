package buildmatrix

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compileRegisters returns libtoy with a caller that keeps a value in a register which toy_add
// leaves alone: the attribute makes NOPs, and does not switch -fipa-ra off.
func compileRegisters(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, "toy.c"), `
__attribute__((noinline, patchable_function_entry(16, 14))) int toy_add(int a, int b)
{ return a + b; }
long toy_keeps(long *p, long q, int a) { long r = toy_add(a, 1); return r + p[q]; }
`)
	cmd := exec.Command("gcc", "-O2", "-fPIC", "-fno-semantic-interposition", "-shared",
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

// TestRegisters: no engine may replace a function whose caller relies on registers that it leaves
// alone.
func TestRegisters(t *testing.T) {
	f := newPackage(t, "1.0-1")
	f.setLibrary(0, compileRegisters(t), true)
	r, err := f.build()
	if err == nil || codesOf(r.Cells[0].Reasons) != "registers" ||
		!strings.Contains(r.Cells[0].Reasons[0].Message, "toy_keeps keeps a value in %") {
		t.Fatalf("%v: %s", err, reasonText(r))
	}
}
