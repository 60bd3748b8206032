package compile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/ulp/symtab"
)

// ErrNoCompiler means that there is no compiler for an architecture.
var ErrNoCompiler = errors.New("no compiler")

// Compiler is the C compiler for one architecture.
type Compiler struct {
	path     string
	identity string   // changes when another compiler is named, or $PATH leads to others
	flags    []string // of every live patch
	// the package directory: compilers run there, so that no path of the machine gets into the code
	dir   string
	runs  *atomic.Int64
	moved func() map[string]string // see findMoved
	// flags that leave room for detours in the replacements themselves
	entries func() []string
}

// commonFlags are those of every live patch on every architecture.
var commonFlags = []string{"-O2", "-fPIC", "-shared", "-Wl,--build-id=sha1"}

// compilerNames are tried in order, Debian's, SUSE's (which has some with a version in the name
// only) and Red Hat's; the environment's LPBUILD_CC_<ARCH> comes before them.
var compilerNames = map[symtab.Arch][]string{
	"x86_64": {"x86_64-linux-gnu-gcc", "x86_64-suse-linux-gcc", "x86_64-redhat-linux-gcc"},
	"ppc64le": {"powerpc64le-linux-gnu-gcc", "powerpc64le-suse-linux-gcc",
		"powerpc64le-suse-linux-gcc-14", "ppc64le-linux-gnu-gcc"},
	"aarch64": {"aarch64-linux-gnu-gcc", "aarch64-suse-linux-gcc", "aarch64-suse-linux-gcc-14"},
}

// patchableEntries are flags that leave room for a detour in the replacements themselves, as the
// distributor's libraries have it: the first that the compiler takes are used. On ppc64le 14,13
// needs -msplit-patch-nops, which not every gcc has; without it the assembler takes only 2, 6 or 14
// NOPs before the local entry point.
var patchableEntries = map[symtab.Arch][][]string{
	"x86_64": {{"-fpatchable-function-entry=16,14"}},
	"ppc64le": {{"-fpatchable-function-entry=14,13", "-msplit-patch-nops"},
		{"-fpatchable-function-entry=16,14"}},
	"aarch64": {{"-fpatchable-function-entry=14,13"}},
}

var nativeArch = map[string]symtab.Arch{"amd64": "x86_64", "ppc64le": "ppc64le", "arm64": "aarch64"}

// Find returns the compiler for an architecture: the one that LPBUILD_CC_<ARCH> names, or the first
// of its usual names in $PATH. It runs in dir; runs counts how often. The error is [ErrNoCompiler].
func Find(arch symtab.Arch, dir string, runs *atomic.Int64) (*Compiler, error) {
	variable := "LPBUILD_CC_" + strings.ToUpper(string(arch))
	names := compilerNames[arch]
	if nativeArch[runtime.GOARCH] == arch {
		names = append([]string{"gcc"}, names...)
	}
	if set := os.Getenv(variable); set != "" {
		names = []string{set}
	}
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		c := &Compiler{path: path, dir: dir, runs: runs, flags: commonFlags}
		// what is behind a script is in the manifest's survey
		c.identity = digest.OfStrings(path, stamp(path), os.Getenv("PATH"))
		c.moved = sync.OnceValue(c.findMoved)
		c.entries = sync.OnceValue(func() []string {
			return c.firstAccepted(patchableEntries[arch])
		})
		return c, nil
	}
	return nil, fmt.Errorf("%w for %s: tried %s: install gcc for %s, or name one in %s",
		ErrNoCompiler, arch, strings.Join(names, ", "), arch, variable)
}

// firstAccepted returns the first of several sets of flags that the compiler takes; the last one is
// not tried.
func (c *Compiler) firstAccepted(candidates [][]string) []string {
	for _, flags := range candidates[:len(candidates)-1] {
		if c.accepts(flags) {
			return flags
		}
	}
	return candidates[len(candidates)-1]
}

// accepts reports whether a function that uses the TOC or GOT assembles with some flags.
func (c *Compiler) accepts(flags []string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "lpbuild-probe-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "probe.c")
	if err := os.WriteFile(source, []byte("extern int variable; int function(void) { return "+
		"variable; }\n"), 0o600); err != nil {
		return false
	}
	_, err = c.run(ctx,
		slices.Concat(flags, []string{"-fPIC", "-c", "-o", filepath.Join(dir, "probe.o"),
			source})...)
	return err == nil
}

// baseFlags are the flags of every compilation. The last one keeps the package directory's place
// out of debugging information; it is the only one that differs from machine to machine.
func (c *Compiler) baseFlags() []string {
	return slices.Concat(c.flags, c.entries(), []string{"-ffile-prefix-map=" + c.dir + "=."})
}

// Error is a compiler's failure.
type Error struct {
	Command string
	Output  string // the end of what it printed
	Err     error
}

func (e *Error) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s: %v", e.Command, e.Err)
	}
	return e.Output
}

// Unwrap returns why the process failed.
func (e *Error) Unwrap() error { return e.Err }

// run starts the compiler and returns its standard output, also what there is of it if it fails.
func (c *Compiler) run(ctx context.Context, args ...string) ([]byte, error) {
	out, _, err := c.start(ctx, args...)
	return out, err
}

// start starts the compiler and returns all it says. Messages are English and times fixed, whatever
// the machine.
func (c *Compiler) start(ctx context.Context, args ...string) (out, said []byte, err error) {
	c.runs.Add(1)
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.Dir = c.dir
	cmd.Env = append(environment(), "LC_ALL=C", "SOURCE_DATE_EPOCH=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var stdout bytes.Buffer
	stderr := &tail{limit: 64 << 10}
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		return stdout.Bytes(), stderr.data, &Error{filepath.Base(c.path),
			strings.TrimSpace(string(stderr.data)), err}
	}
	return stdout.Bytes(), stderr.data, nil
}

// environment is this process's, without what tells compilers where to look: the same configuration
// must give the same code for everybody.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "OBJC_INCLUDE_PATH", "LIBRARY_PATH",
			"COMPILER_PATH", "GCC_EXEC_PREFIX",
			"GCC_COMPARE_DEBUG", "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES", "LD_RUN_PATH",
			"LDEMULATION", "LANGUAGE":
			return true
		}
		return false
	})
}

// tail keeps the end of what is written to it.
type tail struct {
	data  []byte
	limit int
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if extra := len(t.data) - t.limit; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}
