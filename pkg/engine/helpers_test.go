package engine_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/ulp"
)

var builds targettest.Builds

func TestMain(m *testing.M) {
	if job := os.Getenv("ENGINE_TEST_JOB"); job != "" {
		os.Exit(jobs[job]())
	}
	os.Exit(builds.Run(m))
}

// sources are those of the libpulp engine's tests: a stand-in for libpulp.so, a library, a program,
// live patches.
const sources = "libpulp/testdata/"

// gcc compiles one of them under a name, once for the same flags.
func gcc(t testing.TB, name, source string, flags ...string) string {
	t.Helper()
	return builds.GCC(t, name, append([]string{sources + source}, flags...)...)
}

// library compiles a build of the library that is patched; both builds have one name.
func library(t testing.TB, build string) string {
	return gcc(t, build+"/libtarget.so", "library.c", "-shared", "-fPIC",
		"-Wl,-soname,libtarget.so", "-fpatchable-function-entry=16,14", "-Wl,--hash-style=both",
		"-fcf-protection=none", fmt.Sprintf("-Wl,--build-id=0x%040x", len(build)))
}

// container makes a live patch for a build: the library's functions then return tens and twice
// tens.
func container(t testing.TB, build string, tens int) string {
	t.Helper()
	return pack(t, build, fmt.Sprintf("libtarget_%s_livepatch%d.so", build, tens), tens,
		"one:one_lp", "two:two_lp")
}

// pack makes a live patch of the given name and lines.
func pack(t testing.TB, build, name string, tens int, lines ...string) string {
	t.Helper()
	return packAs(t, build, name, tens, ulp.PackOptions{Force: true}, lines...)
}

func packAs(t testing.TB, build, name string, tens int, o ulp.PackOptions, lines ...string) string {
	t.Helper()
	plain := gcc(t, fmt.Sprintf("plain%d.so", tens), "container.c", "-shared", "-fPIC",
		"-Wl,--build-id", fmt.Sprintf("-DTENS=%d", tens))
	path, err := builds.Once("pack "+name, func() (string, error) {
		path := filepath.Join(builds.Dir, name)
		return path, packOnce(plain, path, library(t, build), o, lines)
	})
	must(t, err)
	return path
}

func packOnce(plain, path, target string, o ulp.PackOptions, lines []string) error {
	image, err := targettest.Pack(plain, path, target, o, lines...)
	if err != nil {
		return err
	}
	return os.WriteFile(path, image, 0o755)
}

// flavours are the libpulp.so that tests run with: the stand-in, and libpulp's own where there is
// one.
func flavours(t testing.TB) map[string]string {
	t.Helper()
	list := map[string]string{"standin": standIn(t)}
	if path := targettest.Libpulp(t); path != "" {
		list["libpulp"] = path
	}
	return list
}

func standIn(t testing.TB) string {
	return gcc(t, "libpulp.so", "runtime.c", "-shared", "-fPIC", "-Wl,--build-id",
		"-fvisibility=hidden")
}

// child is a running test program.
type child struct {
	*targettest.Process
	t   testing.TB
	pid int
}

// start starts the program with a build of the library and, unless it is "", a libpulp.so. name is
// the program's.
func start(t testing.TB, build, preload, name string, env ...string) *child {
	t.Helper()
	lib := library(t, build)
	// found by LD_LIBRARY_PATH
	path := gcc(t, "program/"+name, "program.c", "-pthread", library(t, "a"))
	cmd := exec.Command(path)
	cmd.Env = append(append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(lib)), env...)
	if preload != "" {
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+preload)
	}
	c := run(t, cmd)
	// Once it has read a line it does not call malloc any more. The stand-in, other than libpulp.so
	// itself, does not notice that it was stopped within malloc.
	c.says(unpatched)
	return c
}

// run starts a program that prints a line when it is ready.
func run(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{targettest.Start(t, cmd), t, cmd.Process.Pid}
	c.Line()
	return c
}

// says fails the test if the functions do not return what they should.
func (c *child) says(want string) {
	c.t.Helper()
	c.Answers("", want)
}

// What the program says without a patch and with those of 10 and 20.
const unpatched, tens10, tens20 = "1 2 3 107", "10 20 3 107", "20 40 3 107"

// read reads containers that must be good.
func read(t testing.TB, files ...string) *engine.Containers {
	t.Helper()
	cs, err := engine.ReadContainers(t.Context(), files, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range cs.Bad {
		t.Error(bad)
	}
	return cs
}

// selector selects one process.
func (c *child) selector() engine.Selector { return engine.Selector{PID: c.pid} }

// trigger runs, and returns the reports by PID.
func runAll(t testing.TB, o engine.Options) (map[int]*engine.Report, engine.Summary, error) {
	t.Helper()
	reports := map[int]*engine.Report{}
	sum, err := engine.Run(t.Context(), o, func(r *engine.Report) {
		if reports[r.PID] != nil {
			t.Errorf("two reports for process %d", r.PID)
		}
		reports[r.PID] = r
	})
	return reports, sum, err
}

// one runs for one process, and returns its report.
func (c *child) one(o engine.Options) *engine.Report {
	c.t.Helper()
	o.Selector = c.selector()
	if o.Engines == nil {
		o.Engines = []engine.Engine{&engine.Libpulp{}}
	}
	reports, _, err := runAll(c.t, o)
	if err != nil {
		c.t.Fatal(err)
	}
	if reports[c.pid] == nil {
		c.t.Fatal("no report")
	}
	return reports[c.pid]
}
