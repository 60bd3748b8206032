package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/lpbuild/lpbuild/internal/targettest"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
	"github.com/lpbuild/lpbuild/pkg/engine/rtld"
)

// openFile opens the file of a process's libtest.so.1.
func openFile(t *testing.T, m *process.Memory) (*process.File, *rtld.Library) {
	t.Helper()
	targettest.NeedMappedFiles(t)
	l := find(t, m, "libtest.so.1")
	f, err := m.OpenFile(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return f, l
}

// TestFile compares a library's file with the memory of a process: what can be read is the same,
// and so are the symbols.
func TestFile(t *testing.T) {
	target := start(t, "dlopen", library(t, idA), "value")
	m := memory(t, target.pid)
	f, l := openFile(t, m)
	move, read := l.Bias-f.Library().Bias, 0
	for _, s := range f.Library().Segments {
		want, got := make([]byte, s.End-s.Start), make([]byte, s.End-s.Start)
		_, err := f.ReadAt(t.Context(), got, s.Start)
		if s.Perm&rtld.PermWrite != 0 {
			if !errors.Is(err, process.ErrUnreadable) {
				t.Errorf("memory that the process may write: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.ReadAt(t.Context(), want, s.Start+move); err != nil ||
			!bytes.Equal(got, want) {
			t.Errorf("%#x to %#x: %v, or there is something else in memory", s.Start, s.End, err)
		}
		read++
	}
	symbols, err := f.Symbols(t.Context(), f.Library())
	if err != nil || read == 0 {
		t.Fatalf("%v, %d segments", err, read)
	}
	if s, err := symbols.Lookup(t.Context(), "value", ""); err != nil ||
		s.Addr+move != uint64(target.word) {
		t.Errorf("%v, value at %#x, want %#x", err, s.Addr+move, target.word)
	}
}

// TestFileBacks asks of processes whether their memory is that of the file: of another one with the
// file it is; not of one that has written to a page, nor of one with another file that says the
// same of itself.
func TestFileBacks(t *testing.T) {
	lib := library(t, idA)
	f, _ := openFile(t, memory(t, start(t, "dlopen", lib, "value").pid))
	backs := func(pid int) bool {
		m := memory(t, pid)
		is, err := f.Backs(t.Context(), m, find(t, m, "libtest.so.1"))
		if err != nil {
			t.Error(err)
		}
		return is
	}
	if other := start(t, "dlopen", lib, "value"); !backs(other.pid) {
		t.Error("another process with the same file: no")
	}
	for i, s := range f.Library().Segments {
		if s.Perm&rtld.PermWrite != 0 {
			continue
		}
		c := start(t, "dlopen", lib, "value")
		move := find(t, memory(t, c.pid), "libtest.so.1").Bias - f.Library().Bias
		mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer mem.Close()
		var b [1]byte
		for _, f := range []func([]byte, int64) (int, error){mem.ReadAt, mem.WriteAt} {
			// the same byte: it is its own page anyway
			if _, err := f(b[:], int64(s.End-1+move)); err != nil {
				t.Fatal(err)
			}
		}
		if backs(c.pid) {
			t.Errorf("a process that has written to segment %d: yes", i)
		}
	}
	other := filepath.Join(t.TempDir(), "libother.so")
	copyFile(t, lib, other)
	c := start(t, "dlopen", other, "value")
	m := memory(t, c.pid)
	stamp, err := m.Stamp(t.Context(), find(t, m, "libtest.so.1"))
	if err != nil || stamp == f.Stamp() {
		t.Errorf("another file with the same contents: %v, it has the same stamp", err)
	}
}

// TestFileOfAnother: which file is mapped the kernel does not tell everybody. That is no reason to
// take the process for gone, or for one that may not be looked into.
func TestFileOfAnother(t *testing.T) {
	needRoot(t)
	m := memory(t, start(t, "dlopen", library(t, idA), "value").pid)
	l := find(t, m, "libtest.so.1")
	asNobody(t, func() error { return nil }, func() {
		// a context that never ends keeps the calls on this thread
		_, stampErr := m.Stamp(context.Background(), l)
		_, openErr := m.OpenFile(context.Background(), l)
		for _, err := range []error{stampErr, openErr} {
			if !errors.Is(err, process.ErrUnreadable) || errors.Is(err, process.ErrGone) ||
				errors.Is(err, process.ErrPermission) {
				t.Error(err)
			}
		}
	})
}
