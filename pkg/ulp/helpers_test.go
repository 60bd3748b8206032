package ulp_test

import (
	"bytes"
	"fmt"
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

// toolchain is a compiler with its binutils.
type toolchain struct {
	arch   symtab.Arch
	prefix string // of the names of its programs
	nops   string // numbers of NOPs, as -fpatchable-function-entry takes them
}

// toolchains are those that the package has to do with. That of ppc64le cannot compile 14,13
// without -msplit-patch-nops, which it does not have: see patchable.go.
var toolchains = []toolchain{
	{symtab.X86_64, "", "16,14"},
	{symtab.PPC64LE, "powerpc64le-linux-gnu-", "16,14"},
	{symtab.AArch64, "aarch64-linux-gnu-", "14,13"},
}

// x86 is the toolchain for tests that need only one.
var x86 = toolchains[0]

// program returns the name of one of the toolchain's programs.
func (c toolchain) program(name string) string { return c.prefix + name }

// library compiles testdata/library.c with its NOPs. It is done once per set of flags.
func (c toolchain) library(t testing.TB, flags ...string) []byte {
	t.Helper()
	return c.build(t, "testdata/library.c", append([]string{"-fpatchable-function-entry=" + c.nops},
		flags...)...)
}

// builds holds what was compiled: func() ([]byte, error) by the command.
var builds sync.Map

// build compiles a source file, or an assembler text if source has more than one line, to a shared
// object with a build-id, or with -static to an executable.
func (c toolchain) build(t testing.TB, source string, flags ...string) []byte {
	t.Helper()
	once, _ := builds.LoadOrStore(fmt.Sprint(c.prefix, source, flags),
		sync.OnceValues(func() ([]byte, error) { return c.compile(source, flags) }))
	image, err := once.(func() ([]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func (c toolchain) compile(source string, flags []string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ulp-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if strings.Contains(source, "\n") {
		text := source
		source = filepath.Join(dir, "text.s")
		if err := os.WriteFile(source, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	out := filepath.Join(dir, "out.so")
	args := []string{"-O2", "-fPIC", "-Wl,--build-id=sha1", "-o", out, source}
	if !slices.Contains(flags, "-static") {
		args = append(args, "-shared")
	}
	if _, err := output(c.program("gcc"), append(args, flags...)...); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// output runs a program in the C locale.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s%s", name, strings.Join(args, " "), err,
			stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// run returns what a program prints; the test fails if the program does.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := output(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// writeFile writes an executable file of the test's own and returns its path.
func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// strip returns the image without .symtab and, like the packages of distributions, the separate
// debuginfo file.
func (c toolchain) strip(t testing.TB, image []byte) (stripped, debug []byte) {
	t.Helper()
	path := writeFile(t, "lib.so", image)
	run(t, c.program("objcopy"), "--only-keep-debug", path, path+".debug")
	run(t, c.program("strip"), path)
	return readFile(t, path), readFile(t, path+".debug")
}

func parseLibrary(t testing.TB, image, debug []byte) *symtab.Library {
	t.Helper()
	l, err := symtab.ParseLibrary(image, debug, "lib.so")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func parseContainer(t testing.TB, image []byte) *ulp.Container {
	t.Helper()
	c, err := ulp.ParseContainer(image)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
