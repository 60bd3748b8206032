package ulp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// clonesSource has copies: of scale by a name of ours, since GCC makes one where it pays; GCC
// itself leaves sum as a copy only, and risky with a cold part. The second file has a static
// function of a name that is taken.
const (
	clonesSource = `
__attribute__((cold)) void rare(void) { __asm__ volatile(""); }
int table[64];
__attribute__((noinline)) int scale(int x, int by) { return table[x & 63] * by; }
static int copy(int x) __asm__("scale.constprop.0");
__attribute__((noinline)) static int copy(int x) { return table[x & 63] * 3; }
int scaled(int x) { return copy(x) + 1; }
int scaled_again(int x) { return copy(x + 1); }
__attribute__((noinline)) static int sum(const int *of)
{ int s = 0; for (int i = 0; i < 64; i++) s += of[i] ^ s; return s; }
int summed(void) { return sum(table) + 1; }
int summed_again(void) { return sum(table) * 3; }
__attribute__((noinline)) int risky(int x)
{ if (x < 0) { rare(); table[1] = x * 7; } return table[x & 63]; }
__attribute__((noinline)) static int twin(int x) { return x + table[x & 3]++; }
int first(int x) { return twin(x) * 2; }
`
	otherSource = `
extern int table[64];
__attribute__((noinline)) static int twin(int x) { return x - table[x & 3]--; }
int second(int x) { return twin(x) * 3; }
`
)

func clonesImage(t testing.TB, more string) []byte {
	files := map[string]string{"scale.c": clonesSource, "other.c": otherSource}
	if more != "" {
		files["more.s"] = more
	}
	return sharedObject(t, files)
}

// clonesLibrary returns the library as download reads it, and as the gate does.
func clonesLibrary(t testing.TB, more string) map[string]*symtab.Library {
	t.Helper()
	path := writeFile(t, "libt.so", clonesImage(t, more))
	read, err := symtab.OpenLibrary(path, symtab.LibraryOptions{Prove: true})
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := symtab.ParseCatalogue(read.AppendCatalogue(nil))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*symtab.Library{"file": read, "catalogue": catalogue}
}

// TestClones: a copy that the compiler made, and that the library calls, is replaced too, or the
// live patch is refused.
func TestClones(t *testing.T) {
	for what, lib := range clonesLibrary(t, "") {
		check := func(lines string) string {
			return render(ulp.Check(description(t, head+lines), container(t), lib,
				symtab.EntriesNOPs))
		}
		for lines, want := range map[string]string{
			"scale:value_lp\n": `x.dsc:3:1: error: "scale" is replaced, but not ` +
				`scale.constprop.0, which the compiler made of it: callers`,
			"scale:value_lp\nscale.constprop.0:other_lp\n": "",
			"risky:value_lp\n": "", // risky.cold is its own
			"sum:value_lp\n": "hint: the compiler has left only sum.constprop.0 of " +
				"it: name that",
			"sum.constprop.0:value_lp\n": "",
		} {
			if got := check(lines); !strings.Contains(got, want) || (got == "") != (want == "") {
				t.Errorf("%s, %q:\n%s", what, lines, got)
			}
		}
		if _, ok := lib.Lookup("risky.cold"); !ok {
			t.Errorf("%s: GCC has left risky in one piece", what)
		}
		d := description(t, head+"scale:value_lp\n")
		if err := ulp.Check(d, container(t), lib,
			symtab.EntriesNOPs); !errors.Is(err, ulp.ErrClone) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := ulp.Pack(d, nil, container(t), lib,
			ulp.PackOptions{AcceptClones: true}); err != nil {
			t.Errorf("%s, accepted: %v", what, err)
		}
	}
}

// TestColdParts: what other code jumps into is not replaced with its function.
func TestColdParts(t *testing.T) {
	const into = "\n.text\n.globl intruder\n.type intruder,@function\nintruder:\n%s\n.size " +
		"intruder,.-intruder\n" +
		".section .text.unlikely,\"ax\",@progbits\n.type bold.cold,@function\nbold.cold: nop\n" +
		"nop\njmp 1f\n.size bold.cold,.-bold.cold\n" +
		".text\n.globl bold\n.type bold,@function\n" +
		".section __patchable_function_entries,\"awo\",@progbits,.text\n.quad 0f\n.text\n0:\n" +
		".rept 14\nnop\n.endr\n" +
		"bold: nop\nnop\ntest %%edi,%%edi\njs bold.cold\n1: ret\n.size bold,.-bold\n"
	const jumps = `"bold" is replaced, but other functions may jump into its part bold.cold`
	for code, want := range map[string]string{
		"ret":                 "",
		"jmp bold.cold":       jumps,
		"js bold.cold+1\nret": jumps,
		// without unwind information nothing decodes it
		"lea bold.cold+1(%rip),%rax\nret":                                     "",
		".cfi_startproc\njmp bold.cold+1\n.cfi_endproc":                       jumps,
		".cfi_startproc\nlea bold.cold+1(%rip),%rax\njmp *%rax\n.cfi_endproc": jumps,
	} {
		for what, lib := range clonesLibrary(t, fmt.Sprintf(into, code)) {
			got := render(ulp.Check(description(t, head+"bold:value_lp\n"), container(t), lib,
				symtab.EntriesNOPs))
			if !strings.Contains(got, want) || (got == "") != (want == "") {
				t.Errorf("%s, %q:\n%s", what, code, got)
			}
		}
	}
}

// TestPlaces: one of several static functions of a name is chosen by its file or its address.
func TestPlaces(t *testing.T) {
	for what, lib := range clonesLibrary(t, "") {
		check := func(lines string) string {
			return render(ulp.Check(description(t, head+lines), container(t), lib,
				symtab.EntriesNOPs))
		}
		if got := check("twin:value_lp\n"); !strings.Contains(got, "hint: choose one by its "+
			"source file: other.c/twin:value_lp, scale.c/twin:value_lp\n") {
			t.Errorf("%s:\n%s", what, got)
		}
		if got := check("gone.c/twin:value_lp\n"); !strings.Contains(got,
			`error: symbol "gone.c/twin" is not in `) ||
			!strings.Contains(got, "hint: there is other.c/twin, scale.c/twin\n") {
			t.Errorf("%s:\n%s", what, got)
		}
		a, ok1 := lib.Function("scale.c/twin")
		b, ok2 := lib.Function("other.c/twin")
		if !ok1 || !ok2 || a.Value == b.Value {
			t.Fatalf("%s: %+v %+v", what, a, b)
		}
		if got := check("scale.c/twin:value_lp\nother.c/twin:other_lp\n"); got != "" {
			t.Errorf("%s:\n%s", what, got)
		}
		byAddress := fmt.Sprintf("%#x/twin", b.Value)
		if got, ok := lib.Function(byAddress); !ok || got.Value != b.Value {
			t.Errorf("%s: %s: %+v", what, byAddress, got)
		}
		if _, ok := lib.Function(fmt.Sprintf("%#x/twin", b.Value+1)); ok {
			t.Errorf("%s: a function is found at another address", what)
		}
		m, err := ulp.NewMetadata(description(t, head+"other.c/twin:value_lp\n"), nil, container(t),
			lib, ulp.PackOptions{})
		if err != nil || m.Functions[0].OldValue != b.Value ||
			m.Functions[0].Old != "other.c/twin" {
			t.Errorf("%s: %+v, %v", what, m, err)
		}
	}
}

func render(err error) string {
	if err == nil {
		return ""
	}
	return diag.Render(err, false)
}
