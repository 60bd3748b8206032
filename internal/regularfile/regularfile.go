// Package regularfile reads files that may not be what they should be: a FIFO in place of a file
// does not block the reader, and an implausibly large file is not read into memory.
//
// The opened file itself is checked, so replacing it by name makes no difference. Files of /proc
// and processes are read by other means.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrIrregular means that something other than a regular file has the name: a directory, a FIFO or
// a device.
var ErrIrregular = errors.New("is not a file")

// ErrTooLarge means that a file has more bytes than the reader's limit.
var ErrTooLarge = errors.New("more than the limit")

// Open opens a regular file for reading, with additional flags of open(2) if any. It does not block
// on a FIFO.
func Open(path string, flags ...int) (*os.File, fs.FileInfo, error) {
	how := os.O_RDONLY | syscall.O_NONBLOCK
	for _, flag := range flags {
		how |= flag
	}
	f, err := os.OpenFile(path, how, 0)
	if err != nil {
		return nil, nil, err
	}
	return checked(f, path)
}

// openIn is like Open for a file below root.
func openIn(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	return checked(f, name)
}

func checked(f *os.File, path string) (*os.File, fs.FileInfo, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", path, ErrIrregular)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// Read returns the content of a regular file of at most limit bytes.
func Read(path string, limit int64) ([]byte, error) {
	f, info, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, info, path, limit)
}

// ReadIn is like Read for a file below root.
func ReadIn(root *os.Root, name string, limit int64) ([]byte, error) {
	f, info, err := openIn(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, info, name, limit)
}

func readAll(f *os.File, info fs.FileInfo, path string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // the file may grow
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has %d bytes, %w of %d", path,
			max(info.Size(), int64(len(data))), ErrTooLarge, limit)
	}
	return data, err
}
