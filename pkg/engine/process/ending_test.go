package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// TestEnding: the memory of a process goes before itself. While the last of its threads waits to be
// buried, as by a tracer, it looks as if only its main thread had ended; but it is gone, and runs
// no other program.
func TestEnding(t *testing.T) {
	target := start(t, "threads", "2")
	p := look(t, target.pid)
	m, err := p.Memory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	list, err := p.ThreadList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	last := list[len(list)-1].TID
	seized, buried := make(chan error), make(chan bool)
	go func() {
		runtime.LockOSThread() // with which the tracer ends
		seized <- unix.PtraceSeize(last)
		<-buried
	}()
	defer close(buried)
	if err := <-seized; err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(target.pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	targettest.Await(t, "its threads to end", func() bool {
		return state(t, target.pid, target.pid) == "Z" && state(t, target.pid, last) == "Z"
	})
	targettest.Await(t, "its memory to go", func() bool {
		// as long as another test is looking into it, it is there
		_, err = m.ReadAt(t.Context(), make([]byte, 8), 1<<20)
		return !errors.Is(err, process.ErrUnreadable)
	})
	if !errors.Is(err, process.ErrGone) {
		t.Errorf("%v, want %v", err, process.ErrGone)
	}
}

// state returns a thread's letter in /proc.
func state(t *testing.T, pid, tid int) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "task", strconv.Itoa(tid),
		"stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return rest[:1]
}

// TestDumping: a process that dumps core runs no more of its program, whatever is still to be seen
// of it.
func TestDumping(t *testing.T) {
	c := run(t, targettest.Dumper(t, compile(t, "../../tracer/testdata/dumps.c", "-pthread")))
	p := look(t, c.pid)
	if err := p.Verify(t.Context()); err != nil {
		t.Error(err)
	}
	if err := unix.Kill(c.pid, unix.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	targettest.Dumping(t, c.pid)
	targettest.Await(t, "each thread to know that it ends", func() bool {
		return errors.Is(p.Verify(t.Context()), process.ErrGone)
	})
	if !targettest.IsDumping(c.pid) {
		t.Error("it dumps no more: that it is gone says nothing")
	}
}
