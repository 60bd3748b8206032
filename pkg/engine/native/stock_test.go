package native

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// stockLibrary is one of the machine's own.
func stockLibrary(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64",
		"/usr/lib64"} {
		if path, err := filepath.EvalSymlinks(filepath.Join(dir, name)); err == nil {
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	t.Fatalf("no %s on this machine", name)
	return ""
}

// TestStockLibraries patches functions of this machine's own libz and libc, which were compiled
// without NOPs, and reverts that, while threads use them: every result is right, and in the end the
// libraries are as they were.
func TestStockLibraries(t *testing.T) {
	libz := stockLibrary(t, "libz.so.1")
	o := ulp.PackOptions{Force: true, Entries: symtab.EntriesAny}
	z := pack(t, libz, "deflate:deflate_lp\ninflate:inflate_lp\ncrc32:crc32_lp\n", o, "-O2",
		"testdata/stock_lp.c")
	c := start(t, gcc(t, "stock", "-O2", "testdata/stock.c", libz, "-pthread"), 3)
	libc := pack(t, libcPath(t), "free:free_lp\nqsort:qsort_lp\nrealpath@@GLIBC_2.3:realpath_lp\n"+
		"realpath@GLIBC_2.2.5:realpath_lp\n", o, "-O2", "-DLIBC", "testdata/stock_lp.c")
	c.says("check", "0 0 0 0 0 right")
	before := libcOnly(c.snapshot())
	for range 10 {
		c.apply(Options{}, z)
		c.says("check", "1 1 1 0 0 right")
		c.apply(Options{}, libc)
		c.says("check", "1 1 1 1 1 right")
		for c.revert(); len(c.list()) > 0; c.change(Change{}, Options{}) {
		}
		c.says("check", "0 0 0 0 0 right")
	}
	c.right()
	if d := cmp.Diff(before, libcOnly(c.snapshot())); d != "" {
		t.Errorf("not as before: %s", d)
	}
}

// TestPrivateFunction replaces a function that a stripped library without NOPs does not export: its
// debuginfo says where it is. Its caller keeps a number while it runs, and without -fno-ipa-ra
// would do so in a register that it leaves alone: see TestRelied.
func TestPrivateFunction(t *testing.T) {
	lib := gcc(t, "libprivate.so", "-shared", "-fPIC", "-O2", "-fno-ipa-ra", "-DLIBRARY",
		"-Wl,--build-id", "-Wl,-soname,libprivate.so", "testdata/private.c")
	program := gcc(t, "private", "-O2", "testdata/private.c", lib, "-Wl,-rpath,"+filepath.Dir(lib))
	p := pack(t, lib, "hidden:shape_lp\n", ulp.PackOptions{Force: true, Entries: symtab.EntriesAny},
		"testdata/shape_lp.c")
	image, err := os.ReadFile(lib)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(lib, image, 0o755) }) // others expect it as it was built
	if out, err := exec.Command("strip", lib).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := start(t, program, 0)
	c.says("shown", "23")
	c.apply(Options{}, p)
	c.says("shown", "848484")
	c.revert()
	c.says("shown", "23")
}
