package ulp_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

func relocatable(t testing.TB, source string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.c"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("gcc", "-O2", "-fPIC", "-ffunction-sections", "-fdata-sections", "-c",
		"a.c")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	image, err := os.ReadFile(filepath.Join(dir, "a.o"))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

const usesSource = `extern int away(int), other(int); static int (*volatile table[])(int) = {away};
static __attribute__((noinline)) int helps(int a) { return other(a) + 1; }
int calls(int a) { return helps(a) * 3; }
int points(int a) { return table[0](a); }
int (*takes(void))(int) { return away; }
int jumps(int a) { return away(a); }
int alone(int a) { return a + 1; }`

func TestUsesOf(t *testing.T) {
	uses, err := ulp.UsesOf(relocatable(t, usesSource))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"calls": "helps", "helps": "other",
		"points": ulp.SectionUser + ".data.rel.table", ulp.SectionUser +
			".data.rel.table": ulp.AddressOf + "away", "takes": ulp.AddressOf + "away",
		"jumps": "away"} {
		if !slices.Contains(uses[name], want) {
			t.Errorf("%s uses %q, and not %s", name, uses[name], want)
		}
	}
	if d := cmp.Diff([]string(nil), uses["alone"]); d != "" {
		t.Error(d)
	}
}

func FuzzUsesOf(f *testing.F) {
	f.Add(relocatable(f, usesSource))
	f.Fuzz(func(t *testing.T, image []byte) {
		if uses, err := ulp.UsesOf(image); err != nil && uses != nil {
			t.Fatalf("%v, with %d names", err, len(uses))
		}
	})
}
