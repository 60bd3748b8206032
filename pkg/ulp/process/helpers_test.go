package process_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lpbuild/lpbuild/pkg/ulp/process"
)

// buildDir has what the tests compile.
var buildDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "process-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var builds sync.Map // of func() (string, error) by the command

// compile compiles a source of testdata and returns the path of the result. The same command is run once.
func compile(t testing.TB, source string, flags ...string) string {
	t.Helper()
	path, err := tryCompile(source, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func tryCompile(source string, flags ...string) (string, error) {
	once, _ := builds.LoadOrStore(fmt.Sprint(source, flags), sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp(buildDir, "")
		if err != nil {
			return "", err
		}
		out := filepath.Join(dir, strings.TrimSuffix(source, ".c"))
		cmd := exec.Command("gcc", append([]string{"-O1", "-Wall", "-o", out, filepath.Join("testdata", source)}, flags...)...)
		if text, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, text)
		}
		return out, nil
	}))
	return once.(func() (string, error))()
}

// library compiles the patchable library, with its build-id as given.
func library(t testing.TB, buildID string, flags ...string) string {
	t.Helper()
	return compile(t, "library.c", append([]string{"-shared", "-fPIC", "-fpatchable-function-entry=16,14",
		"-Wl,--build-id=0x" + buildID, "-Wl,-soname,libtest.so.1"}, flags...)...)
}

// copyFile copies a file under a new name, so that tests can delete and replace it.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// target is a running process of ours.
type target struct {
	pid  int
	word int64 // what it printed when it was ready
	stop func()
}

// start starts testdata/target.c in a mode.
func start(t testing.TB, args ...string) *target {
	t.Helper()
	return run(t, exec.Command(compile(t, "target.c", "-pthread", "-ldl"), args...))
}

// run starts a program that prints a number when it is ready, and ends when its standard input does. It is killed at the
// end of the test.
func run(t testing.TB, cmd *exec.Cmd) *target {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		in.Close()
		_ = cmd.Process.Signal(syscall.SIGKILL)
		io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v did not get ready: %v", cmd.Args, err)
	}
	word, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return &target{pid: cmd.Process.Pid, word: word, stop: stop}
}

// look looks at a process that must be there.
func look(t testing.TB, pid int) *process.Process {
	t.Helper()
	p, err := process.Look(t.Context(), pid, process.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// memory opens the memory of a target.
func memory(t testing.TB, pid int) *process.Memory {
	t.Helper()
	m, err := look(t, pid).Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// libraries returns the libraries of a target by their names.
func libraries(t testing.TB, pid int) map[string]*process.Library {
	t.Helper()
	list, err := memory(t, pid).Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*process.Library)
	for _, l := range list {
		byName[l.Name] = l
	}
	return byName
}

// wait waits until ok, which a target sees to.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can do this")
	}
}

// The main goroutine keeps the main thread for itself: what the kernel says of a process is what it says of that thread,
// and asNobody changes the thread that it runs on.
func init() { runtime.LockOSThread() }

// asNobody runs before and then, without privileges, f on a thread of their own, which ends with them.
func asNobody(t testing.TB, before func() error, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := errors.Join(before(), becomeNobody())
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// becomeNobody takes the privileges of this thread alone.
func becomeNobody() error {
	const nobody = 65534
	for _, call := range [][4]uintptr{{syscall.SYS_SETGROUPS}, {syscall.SYS_SETRESGID, nobody, nobody, nobody},
		{syscall.SYS_SETRESUID, nobody, nobody, nobody}} {
		if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	return nil
}

// residentMiB returns the resident memory of a process.
func residentMiB(t testing.TB, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return float64(resident*os.Getpagesize()) / (1 << 20)
}
