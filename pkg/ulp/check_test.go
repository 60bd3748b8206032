package ulp_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/diag"
	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

const head = "libt_livepatch1.so\n@/lib64/libt.so\n"

// line replaces a function.
const line = "value:value_lp\n"

// good is a description that uses all there is.
const good = `! bsc#1
` + head + `value:value_lp
other:other_lp
second:value_lp
inner:other_lp
#counter:ulpr_counter
#shared:ulpr_shared
#other:ulpr_static
#%tl:ulpr_tl
`

func TestCheckGood(t *testing.T) {
	lib, c := target(t), container(t)
	for what, l := range map[string]*symtab.Library{"ELF": lib,
		"libpulp's catalogue": libpulpCatalogue(t, lib)} {
		if err := ulp.Check(description(t, good), c, l, symtab.EntriesNOPs); err != nil {
			t.Errorf("%s:\n%s", what, diag.Render(err, false))
		}
	}
	again, err := symtab.ParseCatalogue(lib.AppendCatalogue(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := ulp.Check(description(t, good), c, again, symtab.EntriesNOPs); err != nil {
		t.Errorf("our catalogue:\n%s", diag.Render(err, false))
	}
	offset := func(l *symtab.Library, name string) uint64 {
		s, ok := l.Lookup(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		return s.Value
	}
	byHand := fmt.Sprintf("%s#counter:ulpr_counter:%x:%x\n#%%tl:ulpr_tl:%x:%x\n"+
		"#gone:ulpr_shared:1234:0\n#gone2:gone_too:12:%x\nvalue:value_lp\n", head,
		offset(lib, "counter"), offset(&c.Library, "ulpr_counter"), offset(lib, "tl"),
		offset(&c.Library, "ulpr_tl"), offset(&c.Library, "ulpr_static"))
	if err := ulp.Check(description(t, byHand), c, lib, symtab.EntriesNOPs); err != nil {
		t.Errorf("offsets by hand:\n%s", diag.Render(err, false))
	}
}

func TestCheckRefuses(t *testing.T) {
	tests := map[string]struct {
		lines string // after head, from line 3 on
		err   error
		want  string // the diagnostic
		hint  string // part of its hint
	}{
		"function absent": {"valu:value_lp", ulp.ErrNoSymbol,
			`x.dsc:3:1: error: symbol "valu" is not in libt.so`,
			"did you mean value?"},
		"function only imported": {"getpid:value_lp", ulp.ErrNoSymbol,
			`x.dsc:3:1: error: symbol "getpid" is not in libt.so, which only uses it from ` +
				`elsewhere`,
			""},
		"not a function": {"shared:value_lp", ulp.ErrNotFunction,
			`x.dsc:3:1: error: "shared" is not a function of libt.so but a variable`,
			""},
		"thread-local function": {"tl:value_lp", ulp.ErrNotFunction,
			`x.dsc:3:1: error: "tl" is not a function of libt.so but a thread-local variable`,
			""},
		"IFUNC": {"copy:value_lp", ulp.ErrIFUNC,
			`x.dsc:3:1: error: "copy" is an indirect function (IFUNC) of libt.so: its code only ` +
				`chooses the implementation, once in the life of a process`,
			"name the implementations, one by one or by the pattern __copy_*: __copy_fast, " +
				"__copy_slow, __copy_slow_alias"},
		"nothing": {"! nothing", ulp.ErrNothing,
			`x.dsc:2:2: error: the description replaces no function of libt.so`,
			"add a line OLD:NEW"},
		"not patchable": {"bare:value_lp", ulp.ErrNotPatchable,
			`x.dsc:3:1: error: "bare" has no NOPs for a detour in this build of libt.so`,
			" other functions of libt.so are patchable"},
		"twice": {"value:value_lp\nother:other_lp\nvalue:other_lp", ulp.ErrDuplicate,
			`x.dsc:5:1: error: "value" is replaced twice (first in line 3)`,
			""},
		"alias": {"value:value_lp\nvalue_alias:value_lp", ulp.ErrDuplicate,
			`x.dsc:4:1: error: "value_alias" is another name of "value", which is replaced ` +
				`already (first in line 3)`,
			""},
		"two static functions": {"twin:value_lp", ulp.ErrAmbiguous,
			`x.dsc:3:1: error: "twin" is several functions of libt.so`,
			"choose one by its source file: a.c/twin:value_lp, b.c/twin:value_lp"},
		"two symbol versions": {"versioned:value_lp", ulp.ErrAmbiguous,
			`x.dsc:3:1: error: "versioned" is several functions of libt.so`,
			"choose a version: versioned@@V2:value_lp, versioned@V1:value_lp; or all of them: " +
				"versioned@*:value_lp"},
		"replacement absent": {"value:value_pl", ulp.ErrNoSymbol,
			`x.dsc:3:7: error: symbol "value_pl" is not in libt_livepatch1.so`,
			"did you mean value_lp?"},
		"replacement imported": {"value:getuid", ulp.ErrNoSymbol,
			`x.dsc:3:7: error: symbol "getuid" is not in libt_livepatch1.so, which only uses it ` +
				`from elsewhere`,
			""},
		"replacement static": {"value:static_lp", ulp.ErrNotExported,
			`x.dsc:3:7: error: "static_lp" is in libt_livepatch1.so but not exported`,
			"neither static nor hidden"},
		"replacement hidden": {"value:hidden_lp", ulp.ErrNotExported,
			`x.dsc:3:7: error: "hidden_lp" is in libt_livepatch1.so but not exported`,
			"neither static nor hidden"},
		"replacement variable": {"value:ulpr_small", ulp.ErrNotFunction,
			`x.dsc:3:7: error: "ulpr_small" is not a function of libt_livepatch1.so but a variable`,
			""},
		"replacement IFUNC": {"value:indirect_lp", ulp.ErrIFUNC,
			`x.dsc:3:7: error: "indirect_lp" is an indirect function (IFUNC) of ` +
				`libt_livepatch1.so; a replacement must be an ordinary one`,
			""},
		"variable absent": {"#countre:ulpr_counter", ulp.ErrNoSymbol,
			`x.dsc:3:2: error: symbol "countre" is not in libt.so`,
			"did you mean counter?"},
		"variable optimised away": {"#nothing_like_it:ulpr_counter", ulp.ErrNoSymbol,
			`x.dsc:3:2: error: symbol "nothing_like_it" is not in libt.so`,
			"optimised away"},
		"variable IFUNC": {"#copy:ulpr_counter", ulp.ErrIFUNC,
			`x.dsc:3:2: error: "copy" is an indirect function (IFUNC) of libt.so: its address is ` +
				`not the function's`,
			"__copy_*"},
		"two static variables": {"#buf:ulpr_counter", ulp.ErrAmbiguous,
			`x.dsc:3:2: error: "buf" is several variables of libt.so`,
			"choose one by its source file: #a.c/buf:ulpr_counter, #b.c/buf:ulpr_counter"},
		"TLS without %": {"#tl:ulpr_tl", ulp.ErrTLS,
			`x.dsc:3:2: error: "tl" is a thread-local variable of libt.so`,
			"write #%tl"},
		"% without TLS": {"#%counter:ulpr_tl", ulp.ErrTLS,
			`x.dsc:3:3: error: "counter" is not a thread-local variable of libt.so but a variable`,
			"write #counter"},
		"pointer absent": {"#counter:ulpr_countre", ulp.ErrNoSymbol,
			`x.dsc:3:10: error: symbol "ulpr_countre" is not in libt_livepatch1.so`,
			"did you mean ulpr_counter?"},
		"pointer optimised away": {"#counter:never_used_anywhere", ulp.ErrNoSymbol,
			`x.dsc:3:10: error: symbol "never_used_anywhere" is not in libt_livepatch1.so`,
			"declare it without static"},
		"pointer too small": {"#counter:ulpr_small", ulp.ErrReference,
			`x.dsc:3:10: error: "ulpr_small" of libt_livepatch1.so has 4 bytes; a pointer has 8`,
			""},
		"pair for a pointer": {"#counter:ulpr_tl", ulp.ErrReference,
			`x.dsc:3:10: error: "ulpr_tl" of libt_livepatch1.so has 16 bytes; a pointer has 8`,
			""},
		"pointer for a pair": {"#%tl:ulpr_counter", ulp.ErrReference,
			`x.dsc:3:6: error: "ulpr_counter" of libt_livepatch1.so has 8 bytes; a pair of ` +
				`module and offset has 16`,
			""},
		"pointer in .rodata": {"#counter:ulpr_rodata", ulp.ErrReference,
			`x.dsc:3:10: error: "ulpr_rodata" of libt_livepatch1.so lies in read-only memory`,
			"without const"},
		"pointer in RELRO": {"#counter:ulpr_relro", ulp.ErrReference,
			`x.dsc:3:10: error: "ulpr_relro" of libt_livepatch1.so lies in read-only memory`,
			"without const"},
		"pointer is a function": {"#counter:value_lp", ulp.ErrReference,
			`x.dsc:3:10: error: "value_lp" of libt_livepatch1.so is not a variable but a function`,
			""},
		"pointer thread-local": {"#counter:ulpr_thread", ulp.ErrReference,
			`x.dsc:3:10: error: "ulpr_thread" of libt_livepatch1.so is not a variable but a ` +
				`thread-local variable`,
			""},
		"pointer set twice": {"#counter:ulpr_counter\n#shared:ulpr_counter", ulp.ErrDuplicate,
			`x.dsc:4:9: error: "ulpr_counter" is set twice (first in line 3)`,
			""},
		"offset outside the variable": {"#counter:ulpr_counter:99:0", ulp.ErrReference,
			`x.dsc:3:2: error: offset 99 is not in "counter" of libt.so`,
			`"counter" is at `},
		"offset outside the TLS variable": {"#%tl:ulpr_tl:99:0", ulp.ErrReference,
			`x.dsc:3:3: error: offset 99 is not in "tl" of libt.so`,
			`"tl" is at `},
		"offset not the pointer's": {"#gone:ulpr_counter:99:98", ulp.ErrReference,
			`x.dsc:3:7: error: offset 98 is not that of "ulpr_counter" in libt_livepatch1.so`,
			`"ulpr_counter" is at `},
		"offset zero of a static pointer": {"#gone:ulpr_static:99:0", ulp.ErrNotExported,
			`x.dsc:3:7: error: "ulpr_static" is to be found by name, but libt_livepatch1.so does ` +
				`not export it`,
			"give its offset: "},
		"offset zero, variable unknown": {"#gone:ulpr_counter:0:0", ulp.ErrNoSymbol,
			`x.dsc:3:2: error: symbol "gone" is not in libt.so`,
			""},
		"offset outside the container": {"#gone:unknown_pointer:99:7fffffff", ulp.ErrReference,
			`x.dsc:3:7: error: offset 7fffffff is not in writable memory of libt_livepatch1.so`,
			""},
		"no type": {"untyped:value_lp", ulp.ErrNotFunction,
			`x.dsc:3:1: error: "untyped" is not a function of libt.so but a symbol without a type`,
			""},
		"thread-local variable absent": {"#%tl_sharde:ulpr_tl", ulp.ErrNoSymbol,
			`x.dsc:3:3: error: symbol "tl_sharde" is not in libt.so`,
			"did you mean tl_shared?"},
	}
	lib, c := target(t), container(t)
	for what, tc := range tests {
		if strings.HasPrefix(tc.lines, "#") {
			tc.lines += "\nvalue:value_lp"
		}
		t.Run(what, func(t *testing.T) {
			err := ulp.Check(description(t, head+tc.lines+"\n"), c, lib, symtab.EntriesNOPs)
			list, ok := errors.AsType[diag.List](err)
			if !ok || len(list) != 1 {
				t.Fatalf("got %v", err)
			}
			if list[0].Error() != tc.want || !errors.Is(err, tc.err) ||
				!strings.Contains(list[0].Hint, tc.hint) {
				t.Errorf("got\n%swant %q\n%s", diag.Render(err, false), tc.hint, tc.want)
			}
			if list[0].Source == "" || list[0].Length < 2 {
				t.Errorf("no place to show: %+v", list[0])
			}
		})
	}
}

func TestCheckReportsAll(t *testing.T) {
	err := ulp.Check(description(t, head+"valeu:value_pl\ncopy:static_lp\n#tl:ulpr_small\n"),
		container(t), target(t), symtab.EntriesNOPs)
	want := []string{"x.dsc:3:1", "x.dsc:3:7", "x.dsc:4:1", "x.dsc:4:6", "x.dsc:5:2"}
	list, _ := errors.AsType[diag.List](err)
	for i, d := range list {
		if i >= len(want) || d.String() != want[i] {
			t.Errorf("finding %d: %v", i, d)
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d findings, want %d", len(list), len(want))
	}
}

// Without the container or the library, what needs only the other one is found.
func TestCheckHalf(t *testing.T) {
	d := description(t, head+"valeu:value_pl\n#countre:ulpr_countre\n")
	for what, tc := range map[string]struct {
		c    *ulp.Container
		lib  *symtab.Library
		want []string
	}{
		"container": {container(t), nil, []string{"x.dsc:3:7", "x.dsc:4:10"}},
		"library":   {nil, target(t), []string{"x.dsc:3:1", "x.dsc:4:2"}},
		"nothing":   {nil, nil, nil},
	} {
		list, _ := errors.AsType[diag.List](ulp.Check(d, tc.c, tc.lib, symtab.EntriesNOPs))
		var got []string
		for _, f := range list {
			got = append(got, f.String())
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("with the %s only: %q, want %q", what, got, tc.want)
		}
	}
}

func TestCheckRender(t *testing.T) {
	err := ulp.Check(description(t, head+"value:malloc_lpp\n"), container(t), target(t),
		symtab.EntriesNOPs)
	want := `x.dsc:3:7: error: symbol "malloc_lpp" is not in libt_livepatch1.so
    value:malloc_lpp
          ^~~~~~~~~~
`
	if got := diag.Render(err, false); got != want {
		t.Errorf("got\n%s", got)
	}
}

// Of two symbol versions libpulp takes the one that the linker happened to put last into .dynsym,
// and calls of the other one go to old code. So the name alone is refused, in whatever order they
// are, and each version can be chosen.
func TestCheckSymbolVersions(t *testing.T) {
	const names = 12
	var source strings.Builder
	for i := range names {
		fmt.Fprintf(&source, "int old%[1]d(void) { return 1; }\nint new%[1]d(void) { return 2; }\n"+
			"__asm__(\".symver old%[1]d,f%[1]d@V1\");\n__asm__(\".symver new%[1]d,f%[1]d@@V2\");\n",
			i)
	}
	lib := parseTarget(t, sharedObject(t, map[string]string{"v.c": source.String(),
		"exports.map": targetFiles["exports.map"]}))
	count := map[bool]int{}
	for i := range names {
		name := fmt.Sprintf("f%d", i)
		first := lib.LookupAll(name)[0]
		count[first.Default]++
		check := func(lines string) error {
			return ulp.Check(description(t, head+lines), container(t), lib, symtab.EntriesNOPs)
		}
		if err := check(name + ":value_lp\n"); !errors.Is(err, ulp.ErrAmbiguous) {
			t.Errorf("%s, default version first: %t: %v", name, first.Default, err)
		}
		if err := check(name + "@V1:value_lp\n" + name + "@@V2:value_lp\n"); err != nil {
			t.Errorf("%s, each version: %v", name, err)
		}
	}
	if count[true] == 0 || count[false] == 0 {
		t.Errorf("the linker orders all alike: %v; use more names", count)
	}
}

// What a catalogue of libpulp does not tell is not refused; what it tells is.
func TestCheckIncomplete(t *testing.T) {
	c, lib := container(t), libpulpCatalogue(t, target(t))
	for lines, want := range map[string]error{
		"bare:value_lp": nil, "copy:value_lp": ulp.ErrIFUNC, "valeu:value_lp": ulp.ErrNoSymbol,
		"shared:value_lp": ulp.ErrNotFunction,
		"getpid:value_lp": ulp.ErrNoSymbol, "twin:value_lp": ulp.ErrAmbiguous,
		"value:value_lp\nvalue_alias:value_lp": ulp.ErrDuplicate,
		"#tl:ulpr_counter\nvalue:value_lp":     ulp.ErrTLS, "#counter:ulpr_counter": ulp.ErrNothing,
	} {
		if err := ulp.Check(description(t, head+lines+"\n"), c, lib,
			symtab.EntriesNOPs); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", lines, err, want)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	c, lib := container(t), target(t)
	d := description(t, head+"value:value_lp\n")
	tests := map[string]struct {
		d    *ulp.Description
		c    *ulp.Container
		lib  *symtab.Library
		err  error
		want string
	}{
		"container without build-id": {d, container(t, "-Wl,--build-id=none"), lib,
			ulp.ErrNoBuildID, "x.dsc:1:1: error: libt_livepatch1.so has no build-id"},
		"target without build-id": {d, c, target(t, "-Wl,--build-id=none"), ulp.ErrNoBuildID,
			"x.dsc:2:2: error: libt.so has no build-id"},
		"target with a short build-id": {d, c, target(t, "-Wl,--build-id=md5"), ulp.ErrNoBuildID,
			"x.dsc:2:2: error: the build-id of libt.so has 16 bytes; 20 are wanted"},
		"other architecture": {d, foreignContainer(t), lib, ulp.ErrArch,
			"x.dsc:1:1: error: libt_livepatch1.so is for ppc64le, but libt.so for x86_64"},
		"other target": {description(t, "libt_livepatch1.so\n@/lib64/libm.so.6\nvalue:value_lp\n"),
			c, lib, ulp.ErrTarget, "x.dsc:2:2: error: the description is for libm.so.6, but the " +
				"library given is libt.so"},
		"not livepatchable": {d, c, target(t, "-fpatchable-function-entry=0"), ulp.ErrNotPatchable,
			"x.dsc:2:2: error: libt.so is not livepatchable: none of its functions has the NOPs " +
				"for a detour"},
	}
	for what, tc := range tests {
		err := ulp.Check(tc.d, tc.c, tc.lib, symtab.EntriesNOPs)
		if err == nil || err.Error() != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v\nwant %s", what, err, tc.want)
		}
	}
	// A released library is in memory as it is: only a container can be linked again.
	for what, link := range map[string]bool{"container without build-id": true,
		"target without build-id": false, "target with a short build-id": false} {
		tc := tests[what]
		if text := diag.Render(ulp.Check(tc.d, tc.c, tc.lib, symtab.EntriesNOPs),
			false); strings.Contains(text, "link with") != link {
			t.Errorf("%s: %s", what, text)
		}
	}
	for _, path := range []string{"libt.so", "./libt.so", "catalogue/any name.json"} {
		if err := ulp.Check(description(t, "libt_livepatch1.so\n@"+path+"\nvalue:value_lp\n"), c,
			lib, symtab.EntriesNOPs); err != nil {
			t.Errorf("target %s: %v", path, err)
		}
	}
}

// A stripped library has no private symbols: the hints say so.
func TestCheckStripped(t *testing.T) {
	stripped := strip(t, targetImage(t))
	lib := parseTarget(t, stripped)
	for lines, want := range map[string]string{
		"#zzz_private:ulpr_counter\nvalue:value_lp": "the library is stripped of what it does " +
			"not export: add its debuginfo",
		"zzz_inner:value_lp": "these functions can be replaced: asks, other, outer, second, " +
			"value, value_alias, versioned, versioned_new, versioned_old; the library is " +
			"stripped of what it does not export: add its debuginfo",
		"copy:value_lp": "name the implementations, one by one or by the pattern __copy_*: " +
			"__copy_fast, __copy_slow, __copy_slow_alias",
	} {
		err := ulp.Check(description(t, head+lines+"\n"), container(t), lib, symtab.EntriesNOPs)
		list, _ := errors.AsType[diag.List](err)
		if len(list) != 1 || list[0].Hint != want {
			t.Errorf("%s: %s", lines, diag.Render(err, false))
		}
	}
}

// Where there are many names, a hint lists some.
func TestCheckLongHints(t *testing.T) {
	var source strings.Builder
	source.WriteString("static int (*choose(void))(void);\nint copy(void) " +
		"__attribute__((ifunc(\"choose\")));\n" +
		"__attribute__((patchable_function_entry(0, 0))) int function_0(void) { return 0; }\n")
	for i := range 12 {
		fmt.Fprintf(&source, "int __copy_%c(void) { return %[2]d; }\nint function_%[2]d_(void) { "+
			"return %[2]d; }\n", 'a'+i, i)
	}
	source.WriteString("static int (*choose(void))(void) { static int n; switch (n++) {")
	for i := range 12 {
		fmt.Fprintf(&source, "case %d: return __copy_%c;", i, 'a'+i)
	}
	source.WriteString("}; return 0; }\n")
	image := sharedObject(t, map[string]string{"many.c": source.String()})
	hidden := sharedObject(t, map[string]string{"many.c": "#pragma GCC visibility push(hidden)\n" +
		source.String() + "__attribute__((visibility(\"default\"))) int caller(void) { return " +
		"copy() + function_0(); }\n" +
		"extern __typeof(copy) exported __attribute__((alias(\"copy\"), " +
		"visibility(\"default\")));\n"})
	const any = `; "entries: any" (lpbuild.yaml; ulp packer: --entries=any) makes a live patch ` +
		`for the native engine, ` +
		"which can replace most functions without NOPs"
	for what, tc := range map[string]struct {
		image []byte
		lines string
		want  string
	}{
		"implementations": {image, "copy:value_lp",
			"name the implementations, one by one or by the pattern __copy_*: __copy_a, " +
				"__copy_b, __copy_c, __copy_d, __copy_e, __copy_f, __copy_g, __copy_h, __copy_i, " +
				"__copy_j, ..."},
		"patchable functions": {image, "function_0:value_lp",
			"25 other functions of libt.so are patchable" + any},
		"stripped": {strip(t, hidden), "exported:value_lp",
			"name the implementations; the library is stripped of their names: add its debuginfo"},
	} {
		err := ulp.Check(description(t, head+tc.lines+"\n"), container(t), parseTarget(t, tc.image),
			symtab.EntriesNOPs)
		list, _ := errors.AsType[diag.List](err)
		if len(list) == 0 || list[0].Hint != tc.want {
			t.Errorf("%s:\n%s", what, diag.Render(err, false))
		}
	}
}

// Implementations of another function are no replacement for one that cannot be patched, however
// similar their names.
func TestCheckFamily(t *testing.T) {
	const source = `
#define BARE __attribute__((patchable_function_entry(0, 0)))
BARE int __memcpy_avx512(void) { return 1; }
BARE int __memmove_avx512(void) { return 1; }
int __memset_avx512(void) { return 2; }
int __memcpy_sse2(void) { return 3; }
static int (*cpy(void))(void) { return __memcpy_sse2; }
static int (*set(void))(void) { return __memset_avx512; }
static int (*move(void))(void) { return __memmove_avx512; }
int memcpy(void) __attribute__((ifunc("cpy")));
int memset(void) __attribute__((ifunc("set")));
int memmove(void) __attribute__((ifunc("move")));
`
	lib := parseTarget(t, sharedObject(t, map[string]string{"family.c": source}, "-fno-builtin"))
	for name, want := range map[string]string{
		"__memcpy_avx512": "of the implementations of memcpy these are patchable: __memcpy_sse2",
		"__memmove_avx512": "5 other functions of libt.so are patchable, but no other " +
			"implementation of memmove",
	} {
		err := ulp.Check(description(t, head+name+":value_lp\n"), container(t), lib,
			symtab.EntriesNOPs)
		list, _ := errors.AsType[diag.List](err)
		if len(list) != 1 || !strings.HasPrefix(list[0].Hint, want+`; "entries: any"`) {
			t.Errorf("%s\n%s", want, diag.Render(err, false))
		}
	}
}

// A description that a program made, without positions, gives findings without them.
func TestCheckWithoutPositions(t *testing.T) {
	d := &ulp.Description{File: "made", Container: ulp.Name{Text: "libt_livepatch1.so"},
		Target: ulp.Name{Text: "libt.so"}, Functions: []ulp.Replacement{
			{Old: ulp.Name{Text: "value"}, New: ulp.Name{Text: "nothing"}},
			{Old: ulp.Name{Text: "value"}, New: ulp.Name{Text: "value_lp"}}}}
	err := ulp.Check(d, container(t), target(t), symtab.EntriesNOPs)
	want := "made: error: symbol \"nothing\" is not in libt_livepatch1.so\nmade: error: " +
		"\"value\" is replaced twice"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// Thousands of wrong names are found without a search for near names each.
func TestCheckManyErrors(t *testing.T) {
	var b strings.Builder
	b.WriteString(head)
	for i := range 9_000 {
		fmt.Fprintf(&b, "function_that_is_not_there_%d:value_lp\n", i)
	}
	list, _ := errors.AsType[diag.List](ulp.Check(description(t, b.String()), container(t),
		target(t), symtab.EntriesNOPs))
	if len(list) != 9_000 {
		t.Errorf("%d findings", len(list))
	}
}

func strip(t *testing.T, image []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lib.so")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("strip", path).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	stripped, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return stripped
}
