package ulp_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// built holds shared objects by the sources and flags that they were compiled from.
var built sync.Map // of func() ([]byte, error)

// sharedObject compiles the C files, by their names, into a shared object with build-id and NOPs at
// the functions' entries, and returns its bytes. A file exports.map is the version script, and a
// first flag "CC=X" names the compiler. The same files and flags are compiled once.
func sharedObject(t testing.TB, files map[string]string, flags ...string) []byte {
	t.Helper()
	once, _ := built.LoadOrStore(fmt.Sprint(files, flags),
		sync.OnceValues(func() ([]byte, error) { return compile(files, flags) }))
	image, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func compile(files map[string]string, flags []string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ulp-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cc := "gcc"
	if len(flags) > 0 && strings.HasPrefix(flags[0], "CC=") {
		cc, flags = strings.TrimPrefix(flags[0], "CC="), flags[1:]
	}
	args := []string{"-O2", "-fPIC", "-shared", "-fpatchable-function-entry=16,14",
		"-Wl,--build-id=sha1", "-o", "out.so"}
	args = append(args, flags...)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o644); err != nil {
			return nil, err
		}
		if filepath.Ext(name) == ".map" {
			name = "-Wl,--version-script=" + name
		}
		args = append(args, name)
	}
	cmd := exec.Command(cc, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cc, err, out)
	}
	return os.ReadFile(filepath.Join(dir, "out.so"))
}

// What a live patch may have to do with, in a library of two source files.
const (
	targetA = `
static int counter = 3;
static __thread int tl = 5;
__thread int tl_shared = 6;
int shared = 1;
const int constant = 7;
static int buf[4];
__attribute__((noinline)) static int twin(int x) { return x + buf[x & 3]++; }
int value(void) { counter++; tl++; return 42 + counter + twin(counter); }
int value_alias(void) __attribute__((alias("value")));
int other(void) { return tl + shared + counter; }
__attribute__((patchable_function_entry(0, 0))) int bare(void) { return 7; }
__attribute__((noinline)) static int inner(int x) { return x * 3 + shared; }
int outer(int x) { return inner(x) + inner(x + 1); }
int __copy_fast(void) { return 1; }
int __copy_slow(void) { return 2; }
int __copy_slow_alias(void) __attribute__((alias("__copy_slow")));
int __copy_chk(void) { return 3; }
static int (*copy_ifunc(void))(void) { return shared ? __copy_fast : __copy_slow; }
int copy(void) __attribute__((ifunc("copy_ifunc")));
int getpid(void);
int asks(void) { return getpid(); }
int versioned_old(void) { return 1; }
int versioned_new(void) { return 2; }
__asm__(".symver versioned_old,versioned@V1");
__asm__(".symver versioned_new,versioned@@V2");
__asm__(".text\n.globl untyped\nuntyped: ret\n");
`
	targetB = `
static int buf[4];
__attribute__((noinline)) static int twin(int x) { return x - buf[x & 3]--; }
int second(int x) { return twin(x); }
`
	patchSource = `
int *ulpr_counter, *ulpr_shared;
static int *volatile ulpr_static;
struct pair { unsigned long module, offset; } ulpr_tl;
int ulpr_small;
int *const ulpr_rodata = 0;
extern int ulpr_small;
int *const ulpr_relro = &ulpr_small;
__thread int *ulpr_thread;
int value_lp(void) { return *ulpr_counter + *ulpr_static; }
int other_lp(void) { return 7 + *ulpr_relro; }
__attribute__((noinline)) static int static_lp(int x) { return x * 5; }
__attribute__((visibility("hidden"))) int hidden_lp(void)
{ return static_lp(*ulpr_counter) + static_lp(2); }
int getuid(void);
int calls(void) { return getuid() + hidden_lp(); }
static int (*indirect_choose(void))(void) { return value_lp; }
int indirect_lp(void) __attribute__((ifunc("indirect_choose")));
`
)

var targetFiles = map[string]string{"a.c": targetA, "b.c": targetB,
	"exports.map": "V1 { };\nV2 { } V1;\n"}

func targetImage(t testing.TB, flags ...string) []byte {
	t.Helper()
	return sharedObject(t, targetFiles, flags...)
}

func target(t testing.TB, flags ...string) *symtab.Library {
	t.Helper()
	return parseTarget(t, targetImage(t, flags...))
}

func parseTarget(t testing.TB, image []byte) *symtab.Library {
	t.Helper()
	l, err := symtab.ParseLibrary(image, nil, "libt.so")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func container(t testing.TB, flags ...string) *ulp.Container {
	t.Helper()
	c, err := ulp.ParseContainer(sharedObject(t, map[string]string{"p.c": patchSource}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// foreignContainer is a container for ppc64le.
func foreignContainer(t testing.TB) *ulp.Container {
	t.Helper()
	return container(t, "CC=powerpc64le-linux-gnu-gcc", "-fpatchable-function-entry=0", "-nostdlib")
}

func description(t testing.TB, text string) *ulp.Description {
	t.Helper()
	d, err := ulp.ParseDescription("x.dsc", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// libpulpCatalogue returns the library as libpulp's catalogue tells it: without our extra keys.
func libpulpCatalogue(t testing.TB, l *symtab.Library) *symtab.Library {
	t.Helper()
	type symbol struct {
		Name   string `json:"name"`
		Offset uint64 `json:"offset"`
		Size   uint64 `json:"size"`
		Info   byte   `json:"st_info"`
		Other  byte   `json:"st_other"`
	}
	var symbols []symbol
	for s := range l.Symbols() {
		symbols = append(symbols, symbol{s.Name, s.Value, s.Size, s.Info, s.Other})
	}
	data, err := json.Marshal(map[string]any{
		"library": map[string]any{"name": l.Name, "buildid": hex.EncodeToString(l.BuildID),
			"symbols": symbols},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := symtab.ParseCatalogue(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Complete {
		t.Fatal("a catalogue without our keys is complete")
	}
	return got
}
