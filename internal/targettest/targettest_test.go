package targettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

var builds Builds

func TestMain(m *testing.M) {
	if job := os.Getenv("TARGETTEST_ENGINE"); job != "" {
		engine(job)
	}
	os.Exit(builds.Run(m))
}

// engine says what its job is, and does it.
func engine(job string) {
	switch job {
	case "kill itself":
		KillSelf()
	case "fail":
		fmt.Print("ready\na reason\n")
		os.Exit(1)
	}
	fmt.Println("ready")
	time.Sleep(time.Hour)
}

// source writes a C file.
func source(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source.c")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGCC: what the same arguments made is used again, what others make does not replace it, and
// gcc's reasons are shown.
func TestGCC(t *testing.T) {
	path := source(t, "int main(void) { return VALUE; }")
	one := builds.GCC(t, "directory/program", path, "-DVALUE=1")
	two := builds.GCC(t, "directory/program", path, "-DVALUE=2")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if again := builds.GCC(t, "directory/program", path, "-DVALUE=1"); again != one || one == two {
		t.Errorf("%s, %s and again %s", one, two, again)
	}
	for want, program := range map[int]string{1: one, 2: two} {
		if got := Start(t, exec.Command(program)).Wait(); got != want ||
			!strings.HasPrefix(program, builds.Dir) {
			t.Errorf("%s: exit code %d, want %d", program, got, want)
		}
	}
	if _, err := builds.TryGCC("program", source(t, "what is this")); err == nil ||
		!strings.Contains(err.Error(), "what is this") {
		t.Errorf("a source that is no C: %v", err)
	}
}

// TestProcess: a process answers, and is there until its test ends, and not any longer.
func TestProcess(t *testing.T) {
	var p *Process
	t.Run("lives", func(t *testing.T) {
		p = Start(t, exec.Command("cat"))
		p.Answers("how do you do", "how do you do")
		if err := unix.Kill(p.PID, 0); err != nil {
			t.Errorf("in its test: %v", err)
		}
	})
	if err := unix.Kill(p.PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("after its test: %v", err)
	}
	Start(t, exec.Command("sh", "-c", "read line; kill -s $line $$")).Ends("TERM", syscall.SIGTERM)
	if p = Start(t, exec.Command("cat")); p.In.Close() != nil || p.Wait() != 0 {
		t.Errorf("after its standard input: %v", p.Cmd.ProcessState)
	}
	if p = Start(t, exec.Command("sh", "-c", "kill -9 $$")); p.Wait() != -1 {
		t.Errorf("by a signal: %v", p.Cmd.ProcessState)
	}
}

// TestEngine: engines are killed by themselves and by others, and say nothing then.
func TestEngine(t *testing.T) {
	if err := Engine(t, "TARGETTEST_ENGINE", "kill itself").Run(); !Killed(err) {
		t.Errorf("an engine that kills itself: %v", err)
	}
	if err := exec.Command("false").Run(); Killed(err) || Killed(nil) {
		t.Errorf("%v was not killed", err)
	}
	KillSomewhere(t, Engine(t, "TARGETTEST_ENGINE", "wait"), time.Millisecond)
	said, err := Interrupt(t, Engine(t, "TARGETTEST_ENGINE", "wait"), time.Millisecond,
		syscall.SIGTERM)
	if ee, ok := errors.AsType[*exec.ExitError](err); said != "" || !ok ||
		ee.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("an engine that was terminated said %q: %v", said, err)
	}
}

// TestLoader: the loader starts the program that names it, with and without its symbols.
func TestLoader(t *testing.T) {
	program := builds.GCC(t, "program", source(t, "int main(void) { return 5; }"))
	for _, loader := range []string{Loader(t, program), StrippedLoader(t, program)} {
		if got := Start(t, exec.Command(loader, program)).Wait(); got != 5 {
			t.Errorf("%s: exit code %d", loader, got)
		}
	}
	static := builds.GCC(t, "static", source(t, "int main(void) { return 5; }"), "-static")
	if said := failure(t, func(t testing.TB) {
		Loader(t, static)
	}); !strings.Contains(said, "names no loader") {
		t.Errorf("a program without a loader: %q", said)
	}
}

// TestPack: what is packed is a live patch for the library.
func TestPack(t *testing.T) {
	shared := []string{"-shared", "-fPIC", "-Wl,--build-id"}
	library := builds.GCC(t, "lib.so", append(shared, "-fpatchable-function-entry=16,14",
		source(t, "int one(void) { return 1; }"))...)
	plain := builds.GCC(t, "plain.so",
		append(shared, source(t, "int one_lp(void) { return 10; }"))...)
	image, err := Pack(plain, "patch.so", library, ulp.PackOptions{}, "one:one_lp")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		t.Fatal(err)
	}
	lp, err := c.LivePatch()
	if err != nil || len(lp.Metadata.Functions) != 1 || lp.Metadata.Functions[0].Old != "one" {
		t.Errorf("%+v, %v", lp, err)
	}
	for what, bad := range map[string][3]string{
		"no container": {"", library, "one:one_lp"}, "no library": {plain, "", "one:one_lp"},
		"no function":    {plain, library, "two:one_lp"},
		"no description": {plain, library, ":"}, "not ELF": {source(t, ""), library, "one:one_lp"},
	} {
		if _, err := Pack(bad[0], "patch.so", bad[1], ulp.PackOptions{}, bad[2]); err == nil {
			t.Errorf("%s: packed", what)
		}
	}
}

// TestAwait: it returns as soon as the condition holds.
func TestAwait(t *testing.T) {
	n := 0
	if Await(t, "the third time", func() bool { n++; return n == 3 }); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// recorder is a test that fails for itself alone.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper()                      {}
func (r *recorder) Errorf(f string, args ...any) { r.said += fmt.Sprintf(f, args...) }
func (r *recorder) Fatalf(f string, args ...any) { r.Errorf(f, args...); panic(r) }

// failure returns what a test fails with.
func failure(t *testing.T, test func(testing.TB)) (said string) {
	r := &recorder{TB: t}
	defer func() {
		if e := recover(); e != nil && e != any(r) {
			panic(e)
		}
		said = r.said
	}()
	test(r)
	return
}

// TestFailures: tests fail for what processes do not do, and say what they did.
func TestFailures(t *testing.T) {
	for want, test := range map[string]func(testing.TB){
		"exit status 3": func(t testing.TB) {
			Start(t, exec.Command("sh", "-c", "printf half; exit 3")).Line()
		},
		`after "half"`: func(t testing.TB) {
			Start(t, exec.Command("sh", "-c", "printf half; exit 3")).Line()
		},
		`want "b"`: func(t testing.TB) { Start(t, exec.Command("cat")).Answers("a", "b") },
		"lives, and": func(t testing.TB) {
			Start(t, exec.Command("cat")).Ends("a", syscall.SIGTERM)
		},
		"want killed": func(t testing.TB) {
			Start(t, exec.Command("sh", "-c", "read line; exit 7")).Ends("a", syscall.SIGKILL)
		},
		"a reason": func(t testing.TB) {
			KillSomewhere(t, Engine(t, "TARGETTEST_ENGINE", "fail"), time.Nanosecond)
		},
	} {
		if said := failure(t, test); !strings.Contains(said, want) {
			t.Errorf("%q instead of %s", said, want)
		}
	}
}
