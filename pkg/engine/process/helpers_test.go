package process_test

import (
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

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

var builds targettest.Builds

func TestMain(m *testing.M) { os.Exit(builds.Run(m)) }

// compile compiles a source of testdata and returns the path of the result. The same command is run
// once.
func compile(t testing.TB, source string, flags ...string) string {
	t.Helper()
	path, err := tryCompile(source, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func tryCompile(source string, flags ...string) (string, error) {
	args := append([]string{"-O1", filepath.Join("testdata", source)}, flags...)
	return builds.TryGCC(strings.TrimSuffix(filepath.Base(source), ".c"), args...)
}

// library compiles the patchable library, with its build-id as given.
func library(t testing.TB, buildID string, flags ...string) string {
	t.Helper()
	return compile(t, "library.c",
		append([]string{"-shared", "-fPIC", "-fpatchable-function-entry=16,14",
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

// child is a running process of ours.
type child struct {
	pid  int
	word int64 // what it printed when it was ready
	stop func()
}

// start starts testdata/target.c in a mode.
func start(t testing.TB, args ...string) *child {
	t.Helper()
	return run(t, exec.Command(compile(t, "target.c", "-pthread", "-ldl"), args...))
}

// run starts a program that prints a number when it is ready, and ends when its standard input
// does. It is killed at the end of the test, or when it is stopped; what it has started is waited
// for.
func run(t testing.TB, cmd *exec.Cmd) *child {
	t.Helper()
	p := targettest.Start(t, cmd)
	word, err := strconv.ParseInt(p.Line(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		p.In.Close()
		_ = cmd.Process.Kill()
		_, _ = io.Copy(io.Discard, p.Out)
		p.Kill()
	})
	t.Cleanup(stop)
	return &child{pid: p.PID, word: word, stop: stop}
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
func libraries(t testing.TB, pid int) map[string]*rtld.Library {
	t.Helper()
	list, err := memory(t, pid).Libraries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*rtld.Library)
	for _, l := range list {
		byName[l.Name] = l
	}
	return byName
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can do this")
	}
}

// The main goroutine keeps the main thread for itself: what the kernel says of a process is what it
// says of that thread, and asNobody changes the thread that it runs on.
func init() { runtime.LockOSThread() }

// asNobody runs before and then, without privileges, f on a thread of their own, which ends with
// them.
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
	for _, call := range [][4]uintptr{{syscall.SYS_SETGROUPS}, {syscall.SYS_SETRESGID, nobody,
		nobody, nobody}, {syscall.SYS_SETRESUID, nobody, nobody, nobody}} {
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
