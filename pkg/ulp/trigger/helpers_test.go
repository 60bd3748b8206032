package trigger_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/lpbuild/lpbuild/pkg/ulp"
	"github.com/lpbuild/lpbuild/pkg/ulp/trigger"
)

// buildDir has what the tests compile. Other users may read it.
var buildDir string

func TestMain(m *testing.M) {
	if job := os.Getenv("TRIGGER_TEST_JOB"); job != "" {
		os.Exit(jobs[job]())
	}
	var err error
	if buildDir, err = os.MkdirTemp("", "trigger-test"); err == nil {
		err = os.Chmod(buildDir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// sources are those of the libpulp engine's tests: a stand-in for libpulp.so, a library, a program, live patches.
const sources = "../pulp/testdata/"

var builds sync.Map // of func() error by the output

// gcc compiles a source into buildDir/out, once.
func gcc(t testing.TB, out, source string, flags ...string) string {
	t.Helper()
	path := filepath.Join(buildDir, out)
	once, _ := builds.LoadOrStore(out, sync.OnceValue(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		args := append([]string{"-O2", "-Wall", "-o", path, sources + source}, flags...)
		if text, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("gcc %v: %w\n%s", args, err, text)
		}
		return nil
	}))
	if err := once.(func() error)(); err != nil {
		t.Fatal(err)
	}
	return path
}

// library compiles a build of the library that is patched; both builds have one name.
func library(t testing.TB, build string) string {
	return gcc(t, build+"/libtarget.so", "library.c", "-shared", "-fPIC", "-Wl,-soname,libtarget.so", "-fpatchable-function-entry=16,14",
		"-Wl,--hash-style=both", "-fcf-protection=none", fmt.Sprintf("-Wl,--build-id=0x%040x", len(build)))
}

// container makes a live patch for a build: the library's functions then return tens and twice tens.
func container(t testing.TB, build string, tens int) string {
	t.Helper()
	return pack(t, build, fmt.Sprintf("libtarget_%s_livepatch%d.so", build, tens), tens, "one:one_lp", "two:two_lp")
}

// pack makes a live patch of the given name and lines.
func pack(t testing.TB, build, name string, tens int, lines ...string) string {
	t.Helper()
	return packAs(t, build, name, tens, ulp.PackOptions{Force: true}, lines...)
}

func packAs(t testing.TB, build, name string, tens int, o ulp.PackOptions, lines ...string) string {
	t.Helper()
	plain := gcc(t, fmt.Sprintf("plain%d.so", tens), "container.c", "-shared", "-fPIC", "-Wl,--build-id", fmt.Sprintf("-DTENS=%d", tens))
	target, path := library(t, build), filepath.Join(buildDir, name)
	once, _ := builds.LoadOrStore("pack "+name, sync.OnceValue(func() error { return packOnce(plain, path, target, o, lines) }))
	if err := once.(func() error)(); err != nil {
		t.Fatal(err)
	}
	return path
}

func packOnce(plain, path, target string, o ulp.PackOptions, lines []string) error {
	text := []byte("! bsc#12 CVE-2024-1 a test\n" + path + "\n@" + target + "\n" + strings.Join(lines, "\n") + "\n")
	d, err := ulp.ParseDescription("test.dsc", text)
	if err != nil {
		return err
	}
	lib, err := ulp.OpenLibrary(target, ulp.LibraryOptions{Prove: true})
	if err != nil {
		return err
	}
	image, err := os.ReadFile(plain)
	if err != nil {
		return err
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return err
	}
	if image, err = ulp.Pack(d, text, c, lib, o); err != nil {
		return err
	}
	return os.WriteFile(path, image, 0o755)
}

// flavours are the libpulp.so that tests run with: the stand-in, and libpulp's own where there is one.
func flavours(t testing.TB) map[string]string {
	t.Helper()
	list := map[string]string{"standin": standIn(t)}
	for _, path := range []string{"/usr/lib64/libpulp.so.0", "/usr/lib/x86_64-linux-gnu/libpulp.so.0", os.Getenv("LPBUILD_LIBPULP")} {
		if _, err := os.Stat(path); path != "" && err == nil {
			list["libpulp"] = path
		}
	}
	if len(list) == 1 {
		t.Log("skipped: libpulp itself: LPBUILD_LIBPULP does not name a libpulp.so, and the system has none")
	}
	return list
}

func standIn(t testing.TB) string {
	return gcc(t, "libpulp.so", "runtime.c", "-shared", "-fPIC", "-Wl,--build-id", "-fvisibility=hidden")
}

// child is a running test program.
type child struct {
	t   testing.TB
	cmd *exec.Cmd
	pid int
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts the program with a build of the library and, unless it is "", a libpulp.so. name is the program's.
func start(t testing.TB, build, preload, name string, env ...string) *child {
	t.Helper()
	lib := library(t, build)
	path := gcc(t, "program/"+name, "program.c", "-pthread", library(t, "a"), "-Wl,-rpath,"+buildDir) // found by LD_LIBRARY_PATH
	cmd := exec.Command(path)
	cmd.Env = append(append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(lib)), env...)
	if preload != "" {
		cmd.Env = append(cmd.Env, "LD_PRELOAD="+preload)
	}
	c := run(t, cmd)
	// Once it has read a line it does not call malloc any more. The stand-in, other than libpulp.so itself, does not notice
	// that it was stopped within malloc.
	c.says(unpatched)
	return c
}

// run starts a program that prints a line when it is ready.
func run(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t, cmd, cmd.Process.Pid, in, bufio.NewReader(out)}
	t.Cleanup(c.kill)
	c.line()
	return c
}

func (c *child) kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	_ = c.cmd.Process.Signal(syscall.SIGCONT)
	_ = c.cmd.Wait()
}

func (c *child) line() string {
	c.t.Helper()
	s, err := c.out.ReadString('\n')
	if err != nil {
		_ = c.cmd.Wait()
		c.t.Fatalf("the process ended: %v: %v", err, c.cmd.ProcessState)
	}
	return strings.TrimSpace(s)
}

// says fails the test if the functions do not return what they should.
func (c *child) says(want string) {
	c.t.Helper()
	_, _ = io.WriteString(c.in, "\n") // if it ended, line says so
	if got := c.line(); got != want {
		c.t.Errorf("the functions return %q, want %q", got, want)
	}
}

// What the program says without a patch and with those of 10 and 20.
const unpatched, tens10, tens20 = "1 2 3 107", "10 20 3 107", "20 40 3 107"

// read reads containers that must be good.
func read(t testing.TB, files ...string) *trigger.Containers {
	t.Helper()
	cs, err := trigger.ReadContainers(t.Context(), files, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range cs.Bad {
		t.Error(bad)
	}
	return cs
}

// selector selects one process.
func (c *child) selector() trigger.Selector { return trigger.Selector{PID: c.pid} }

// trigger runs, and returns the reports by PID.
func runAll(t testing.TB, o trigger.Options) (map[int]*trigger.Report, trigger.Summary, error) {
	t.Helper()
	reports := map[int]*trigger.Report{}
	sum, err := trigger.Run(t.Context(), o, func(r *trigger.Report) {
		if reports[r.PID] != nil {
			t.Errorf("two reports for process %d", r.PID)
		}
		reports[r.PID] = r
	})
	return reports, sum, err
}

// one runs for one process, and returns its report.
func (c *child) one(o trigger.Options) *trigger.Report {
	c.t.Helper()
	o.Selector = c.selector()
	if o.Backends == nil {
		o.Backends = []trigger.Backend{&trigger.Libpulp{}}
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
