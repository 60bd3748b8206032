package native

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// TestContainers compiles containers and says what this engine thinks of them.
func TestContainers(t *testing.T) {
	tests := map[string]struct {
		source string
		flags  []string
		want   string // "" if it can be loaded
	}{
		"plain": {source: "int f(int a) { return a + 1; }"},
		"no start files": {source: "int f(int a) { return a + 1; }",
			flags: []string{"-nostartfiles"}},
		"CET": {source: "int f(int a) { return a + 1; }",
			flags: []string{"-fcf-protection=full"}},
		"RELRO": {source: "int f(void); int g(void) { return f(); }",
			flags: []string{"-Wl,-z,relro,-z,now"}},
		"static pointers": {source: "static int x; int *p = &x; int **f(void) { return &p; }",
			flags: []string{"-Wl,-z,pack-relative-relocs"}},
		"constructor": {source: "__attribute__((constructor)) void f(void) { __asm__ " +
			"volatile(\"nop\"); }", want: "constructors"},
		"destructor": {source: "__attribute__((destructor)) void f(void) { __asm__ " +
			"volatile(\"nop\"); }", want: "destructors"},
		"own _init": {source: "void _init(void) { __asm__ volatile(\"nop\"); }",
			flags: []string{"-nostartfiles"}, want: "a constructor _init"},
		"own TLS": {source: "__thread int x; int *f(void) { return &x; }",
			want: "thread-local variables of its own"},
		"static TLS": {source: "static __thread int x; int *f(void) { return &x; }",
			flags: []string{"-ftls-model=initial-exec"}, want: "thread-local variables of its own"},
		"descriptors": {source: "extern __thread int x; int *f(void) { return &x; }",
			flags: []string{"-mtls-dialect=gnu2"}, want: "TLS descriptors"},
		"foreign TLS": {source: "extern __thread int x; int *f(void) { return &x; }"},
		"IFUNC": {source: "static int a(void) { return 1; } static void *r(void) { return a; } " +
			"int f(void) __attribute__((ifunc(\"r\"))); ", want: "indirect function (IFUNC)"},
		"local IFUNC": {source: "static int a(void) { return 1; } static void *r(void) { return " +
			"a; } static int f(void) __attribute__((ifunc(\"r\"))); int g(void) { return f() + " +
			"1; }", want: "indirect function (IFUNC)"},
		"W and X": {source: `asm(".section .both,\"awx\",@progbits\n.quad 0\n.text"); int f(int ` +
			`a) { return a + 1; }`,
			want: "both writable and executable"},
		"alignment": {source: "static char x[8] __attribute__((aligned(1 << 22))) = {1}; char " +
			"*f(void) { return x; }",
			want: "alignment to 0x400000 bytes"},
		"cleanup": {source: "void c(int *); void g(void); void f(void) { " +
			"__attribute__((cleanup(c))) int x = 1; g(); }", flags: []string{"-fexceptions"},
			want: "__gcc_personality_v0"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := container(t, tc.source, tc.flags...)
			_, err := prepare(c, "")
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (!errors.Is(err, ErrContainer) ||
				!strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// container compiles a source into a container that is not packed.
func container(t *testing.T, source string, flags ...string) *ulp.Container {
	t.Helper()
	path := t.TempDir() + "/c.c"
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(gcc(t, "c.so", append([]string{"-shared", "-fPIC", path},
		flags...)...))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTextRelocations and other architectures cannot be loaded either.
func TestOtherArchitectures(t *testing.T) {
	c := container(t, "int f(int a) { return a + 1; }")
	c.Arch = symtab.PPC64LE
	if _, err := prepare(c, ""); !errors.Is(err, ErrContainer) ||
		!errors.Is(err, symtab.ErrUnsupported) {
		t.Error(err)
	}
	c = container(t, "int f(int a) { return a + 1; }")
	c.TextRelocations = true
	if _, err := prepare(c, ""); !errors.Is(err, ErrContainer) {
		t.Error(err)
	}
}
