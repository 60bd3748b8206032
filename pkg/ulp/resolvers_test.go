package ulp_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// choosingSource has indirect functions whose names begin those of other functions, as in glibc,
// and which make the addresses of their implementations in several ways.
const choosingSource = `
typedef int (*fn)(void);
volatile int cpu;
#define F(name, n) __attribute__((noinline)) int name(void) { return n; }
#define H __attribute__((visibility("hidden")))
#define IFUNC(name) int name(void) __attribute__((ifunc(#name "_ifunc")));
H F(__strcspn_sse2, 1) H F(__strcspn_sse42, 2) H F(__strcspn_c1, 3)
static fn strcspn_ifunc(void) { return cpu ? __strcspn_sse42 : __strcspn_sse2; }
IFUNC(strcspn)
F(__strcpy_sse2, 1) F(__strcpy_avx2, 2) F(__strcpy_small, 3)
static fn strcpy_ifunc(void) { return cpu ? __strcpy_avx2 : __strcpy_sse2; }
/* by slots: they are exported */
IFUNC(strcpy)
H F(__strcasecmp_sse2, 1) H F(__strcasecmp_avx, 2)
H F(__strcasecmp_l_sse2, 3) H F(__strcasecmp_l_avx, 4)
static fn strcasecmp_ifunc(void) { return cpu ? __strcasecmp_avx : __strcasecmp_sse2; }
IFUNC(strcasecmp)
static fn __strcasecmp_l_ifunc(void) { return cpu ? __strcasecmp_l_avx : __strcasecmp_l_sse2; }
int strcasecmp_l(void) __attribute__((ifunc("__strcasecmp_l_ifunc")));
H F(__tabled_a, 1) H F(__tabled_b, 2) H F(__tabled_c, 3) H F(__tabled_setup, 4)
static const fn table[] = { __tabled_a, __tabled_b, __tabled_c };
static fn tabled_ifunc(void) { return table[cpu & 1]; }
IFUNC(tabled)
H F(__helped_a, 1) H F(__helped_b, 2) H F(__helped_c, 3)
__attribute__((noinline)) static fn help(int x) { return x ? __helped_a : __helped_b; }
static fn helped_ifunc(void) { return cpu > 2 ? help(cpu & 3) : help(cpu & 4); }
IFUNC(helped)
`

func choosing(t *testing.T, flags ...string) map[string]*symtab.Library {
	t.Helper()
	read := parseTarget(t, sharedObject(t, map[string]string{"choosing.c": choosingSource},
		append(flags, "-fno-builtin")...))
	catalogue, err := symtab.ParseCatalogue(read.AppendCatalogue(nil))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*symtab.Library{"file": read, "catalogue": catalogue}
}

// TestPatternChosen: a pattern stands for what an indirect function can choose, whatever else is
// named like that.
func TestPatternChosen(t *testing.T) {
	for what, lib := range choosing(t) {
		for pattern, want := range map[string]string{
			"__strcspn_*":      "__strcspn_sse2 __strcspn_sse42",
			"__strcspn_sse4*":  "__strcspn_sse42",
			"__strcpy_*":       "__strcpy_avx2 __strcpy_sse2",
			"__strcasecmp_*":   "__strcasecmp_avx __strcasecmp_sse2",
			"__strcasecmp_l_*": "__strcasecmp_l_avx __strcasecmp_l_sse2",
			"__tabled_*":       "__tabled_a __tabled_b __tabled_c",
			"__helped_*":       "__helped_a __helped_b",
		} {
			d, err := description(t, head+pattern+":value_lp\n").Expand(ulp.Expansion{}, lib)
			if err != nil {
				t.Errorf("%s, %s: %s", what, pattern, render(err))
				continue
			}
			var got []string
			for _, f := range d.Functions {
				got = append(got, f.Old.Text)
			}
			if strings.Join(got, " ") != want {
				t.Errorf("%s: %s stands for %s, want %s", what, pattern, got, want)
			}
		}
		for pattern, want := range map[string]string{
			"__strcspn*": "hint: name the functions, each in a line; by their names these " +
				"match: __strcspn_c1, __strcspn_sse2, __strcspn_sse42\n",
			"*_sse2": "*_sse2 does not begin with the name of an indirect function (IFUNC) of " +
				"libt.so\n",
			"__strcspn_c*": "hint: one name matches, but no indirect function can choose it",
		} {
			if _, err := description(t, head+pattern+":value_lp\n").Expand(ulp.Expansion{},
				lib); err == nil || !strings.Contains(render(err), want) {
				t.Errorf("%s, %s: %s", what, pattern, render(err))
			}
		}
		err := ulp.Check(description(t, head+"strcasecmp:value_lp\n"), container(t), lib,
			symtab.EntriesNOPs)
		if got := render(err); !strings.Contains(got, "one by one or by the pattern "+
			"__strcasecmp_*: __strcasecmp_avx, __strcasecmp_sse2\n") {
			t.Errorf("%s:\n%s", what, got)
		}
	}
}

// TestPatternUnknown: where it is not known what indirect functions choose, names are wanted.
func TestPatternUnknown(t *testing.T) {
	_, err := description(t, head+"__strcspn_*:value_lp\n").Expand(ulp.Expansion{},
		libpulpCatalogue(t, choosing(t)["file"]))
	got := render(err)
	if !errors.Is(err, ulp.ErrPattern) ||
		!strings.Contains(got, "it is not known which functions of libt.so the indirect function "+
			"strcspn can choose") ||
		!strings.Contains(got, "by their names these match: __strcspn_c1, __strcspn_sse2, "+
			"__strcspn_sse42\n") {
		t.Errorf("libpulp's catalogue:\n%s", got)
	}
	ppc64le := parseLibrary(t, toolchains[1].build(t, "testdata/library.c", "-DIFUNC"), nil)
	_, err = description(t, head+"indirect_*:value_lp\n").Expand(ulp.Expansion{}, ppc64le)
	if got := render(err); !errors.Is(err, ulp.ErrPattern) ||
		!strings.Contains(got, "its code is not read on ppc64le\n") {
		t.Errorf("ppc64le:\n%s", got)
	}
}

// TestIFUNCVersion: one version of a name may be an indirect function while another is not, as
// memcpy of glibc.
func TestIFUNCVersion(t *testing.T) {
	lib := parseTarget(t,
		sharedObject(t, map[string]string{"exports.map": targetFiles["exports.map"], "v.c": `
typedef int (*fn)(void);
volatile int cpu;
#define F(name, n) __attribute__((noinline, visibility("hidden"))) int name(void) { return n; }
F(__f_sse2, 1) F(__f_avx, 2) F(__f_small, 3)
static fn choose(void) { return cpu ? __f_avx : __f_sse2; }
int new_f(void) __attribute__((ifunc("choose")));
int old_f(void) { return 4; }
__asm__(".symver old_f,f@V1\n.symver new_f,f@@V2");
`}))
	err := ulp.Check(description(t, head+"f:value_lp\n"), container(t), lib, symtab.EntriesNOPs)
	if got := render(err); !strings.Contains(got,
		"one by one or by the pattern __f_*: __f_avx, __f_sse2\n") {
		t.Errorf("f:\n%s", got)
	}
	_, err = description(t, head+"f@*:value_lp\n").Expand(ulp.Expansion{}, lib)
	if got := render(err); !errors.Is(err, ulp.ErrPattern) ||
		!strings.Contains(got, "f@@V2, which f@* would leave out, is an indirect function "+
			"(IFUNC) of libt.so\n") {
		t.Errorf("f@*: %v\n%s", err, got)
	}
	if d, err := description(t, head+"f@V1:value_lp\n__f_*:value_lp\n").Expand(ulp.Expansion{},
		lib); err != nil || len(d.Functions) != 3 {
		t.Errorf("%v, %s", d, render(err))
	}
}
