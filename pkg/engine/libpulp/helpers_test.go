package libpulp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/libpulp"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/tracer"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

var builds targettest.Builds

func TestMain(m *testing.M) {
	if job := os.Getenv("LIBPULP_TEST_ENGINE"); job != "" {
		os.Exit(engine(job))
	}
	os.Exit(builds.Run(m))
}

// gcc compiles a source under a name, once for the same flags.
func gcc(t testing.TB, name, source string, flags ...string) string {
	t.Helper()
	return builds.GCC(t, name, append([]string{source}, flags...)...)
}

var shared = []string{"-shared", "-fPIC", "-Wl,--build-id"}

// library compiles the library that is patched, with NOPs at the entries and, for cet, endbr64.
func library(t testing.TB, cet bool, flags ...string) string {
	name, protection := "libplain.so", "-fcf-protection=none"
	if cet {
		name, protection = "libcet.so", "-fcf-protection=full"
	}
	flags = append(flags, shared...)
	return gcc(t, name, "testdata/library.c", append(flags, "-fpatchable-function-entry=16,14",
		"-Wl,--hash-style=both", protection)...)
}

// container packs a live patch for a library: replacements of its functions, whose values have
// tens, and its references.
func container(t testing.TB, target string, tens int, lines ...string) (*libpulp.Patch, string) {
	t.Helper()
	name := fmt.Sprintf("%s_%d_%x.so", strings.TrimSuffix(filepath.Base(target), ".so"), tens,
		strings.Join(lines, " "))
	plain := gcc(t, "plain_"+name, "testdata/container.c",
		append([]string{fmt.Sprintf("-DTENS=%d", tens)}, shared...)...)
	path := filepath.Join(filepath.Dir(target), name) // several libraries have one name
	_, err := builds.Once(path, func() (string, error) {
		image, err := targettest.Pack(plain, name, target, ulp.PackOptions{Force: true}, lines...)
		if err != nil {
			return "", err
		}
		return path, os.WriteFile(path, image, 0o755)
	})
	must(t, "pack", err)
	return readPatch(t, path), path
}

func readPatch(t testing.TB, path string) *libpulp.Patch {
	t.Helper()
	p, err := loadPatch(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func loadPatch(path string) (*libpulp.Patch, error) {
	image, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return nil, err
	}
	return libpulp.NewPatch(c)
}

// flavour is a libpulp.so that the tests run with.
type flavour struct {
	name string
	path string
	old  bool // no queue, no version, no error state
	real bool
}

// flavours are the two stand-ins, and libpulp's own where there is one.
func flavours(t testing.TB) []flavour {
	t.Helper()
	list := []flavour{{name: "standin", path: standIn(t)},
		{name: "old", path: gcc(t, "runtimeold.so", "testdata/runtime.c",
			append(shared, "-fvisibility=hidden", "-DOLD")...), old: true}}
	if path := targettest.Libpulp(t); path != "" {
		b, err := os.ReadFile(path)
		must(t, "libpulp", err)
		list = append(list, flavour{name: "libpulp", path: path, real: true,
			old: !bytes.Contains(b, []byte("__ulp_insn_queue"))})
	}
	return list
}

func standIn(t testing.TB) string {
	return gcc(t, "runtime.so", "testdata/runtime.c", append(shared, "-fvisibility=hidden")...)
}

// child is a running test program.
type child struct {
	*targettest.Process
	t   testing.TB
	pid int
}

// start starts testdata/program.c with a library and a libpulp.so.
func start(t testing.TB, lib string, f flavour, mode string, args ...string) *child {
	t.Helper()
	name := "program_" + filepath.Base(lib)
	path := gcc(t, name, "testdata/program.c", "-pthread", lib)
	c := run(t, path, f.path, mode, args...)
	if got := c.Line(); got != "1 2 3 107" {
		t.Fatalf("%q", got)
	}
	// Once it has read a line it does not call malloc any more. The stand-ins, other than
	// libpulp.so itself, do not notice that they were stopped within malloc.
	c.says("1 2 3 107")
	return c
}

func run(t testing.TB, path, preload, mode string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+preload, "FAKEPULP="+mode)
	return &child{targettest.Start(t, cmd), t, cmd.Process.Pid}
}

// values has the program call the functions.
func (c *child) values() string {
	c.t.Helper()
	return c.Ask("")
}

// says fails the test if the functions do not return what they should.
func (c *child) says(want string) {
	c.t.Helper()
	if got := c.values(); got != want {
		c.t.Errorf("the functions return %q, want %q", got, want)
	}
}

// found is libpulp.so in a process, and the memory of that.
type found struct {
	*libpulp.Runtime
	memory *process.Memory
}

func (f *found) Close() { f.memory.Close() }

// find finds libpulp.so in a process.
func (c *child) find() *found {
	c.t.Helper()
	r, err := findIn(c.t.Context(), c.pid)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(r.Close)
	return r
}

func findIn(ctx context.Context, pid int) (*found, error) {
	p, err := process.Look(ctx, pid, process.Options{})
	if err != nil {
		return nil, err
	}
	m, err := p.Memory(ctx)
	if err != nil {
		return nil, err
	}
	libraries, err := m.Libraries(ctx)
	if err == nil {
		var r *libpulp.Runtime
		if r, err = libpulp.Find(ctx, p, m, libraries); err == nil {
			return &found{r, m}, nil
		}
	}
	m.Close()
	return nil, err
}

// do carries a plan out, and makes it anew as long as that is worth while.
func (c *child) do(plan func(*libpulp.Runtime) (*libpulp.Plan, error), o ...tracer.Options) error {
	c.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		r := c.find()
		err := once(c.t.Context(), r.Runtime, plan, o...)
		r.Close()
		if !errors.Is(err, libpulp.ErrAgain) || time.Now().After(end) {
			return err
		}
	}
}

func once(ctx context.Context, r *libpulp.Runtime,
	plan func(*libpulp.Runtime) (*libpulp.Plan, error), o ...tracer.Options) error {
	pl, err := plan(r)
	if err != nil {
		return err
	}
	opts := tracer.Options{}
	if len(o) > 0 {
		opts = o[0]
	}
	opts.StopTimeout = 10 * time.Second
	_, err = r.Stop(ctx, opts, func(s *libpulp.Session) error { return s.Do(ctx, pl) })
	return err
}

func (c *child) apply(p *libpulp.Patch, path string) error {
	return c.do(func(r *libpulp.Runtime) (*libpulp.Plan, error) {
		return r.PlanApply(c.t.Context(), p, path)
	})
}

func (c *child) replace(p *libpulp.Patch, path string) error {
	return c.do(func(r *libpulp.Runtime) (*libpulp.Plan, error) {
		return r.PlanReplace(c.t.Context(), p, path, "")
	})
}

func (c *child) revert(p *libpulp.Patch) error {
	return c.do(func(r *libpulp.Runtime) (*libpulp.Plan, error) {
		return r.PlanRevert(c.t.Context(), p.ID())
	})
}

func (c *child) revertAll(library string) error {
	return c.do(func(r *libpulp.Runtime) (*libpulp.Plan, error) {
		return r.PlanRevertAll(c.t.Context(), library)
	})
}

// applied returns the numbers of the containers that are applied, newest first, without the rest of
// their names.
func (c *child) applied() []libpulp.Applied {
	c.t.Helper()
	r := c.find()
	defer r.Close()
	list, err := r.Applied(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// mustNot fails the test if err is not of the code.
func mustNot(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
