package tracer

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Memory is the target's memory by virtual address, through /proc/PID/mem. Writing ignores page
// protection: text can be written, its page becomes a private copy. It stays the memory of the
// program that ran when it was stopped, so that after an exec nothing of the new program is ever
// touched. Usable from any goroutine until [Tracee.Detach].
type Memory struct {
	f *os.File
	t *Tracee
}

// ReadAt reads len(p) bytes at the address off; a part that is not mapped is an error.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("address %#x: %w", uint64(off), os.ErrInvalid)
	}
	n, err := m.f.ReadAt(p, off)
	if err == io.EOF { // the address space is gone
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteAt writes p at the address off. Under a stop of all threads no thread sees a part of it.
// Unlike ReadAt it must not be called at the same time as a method of the Tracee: a kernel may want
// the write to come from the tracer's thread.
func (m *Memory) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("address %#x: %w", uint64(off), os.ErrInvalid)
	}
	doErr := m.t.Do(func() error {
		n, err = m.f.WriteAt(p, off)
		return nil
	})
	return n, errors.Join(doErr, err)
}
