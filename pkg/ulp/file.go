package ulp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// maxFile bounds the files that are read, in bytes.
const maxFile = 1 << 31

// buffers are for the bytes of files, since a third of the time to read a library would otherwise go into fresh memory.
// The collector empties the pool.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readFile reads a regular file of bounded size. It does not wait for the other end of a FIFO. The bytes must not be used
// after release, which must be called.
func readFile(path string) (data []byte, release func(), err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !fi.Mode().IsRegular():
		return nil, nil, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	case fi.Size() > maxFile:
		return nil, nil, &os.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w: larger than 2 GiB", ErrUnsupported)}
	}
	buffer := buffers.Get().(*[]byte)
	if int64(cap(*buffer)) < fi.Size() {
		*buffer = make([]byte, fi.Size())
	}
	data = (*buffer)[:fi.Size():fi.Size()]
	if _, err := io.ReadFull(f, data); err != nil {
		buffers.Put(buffer)
		return nil, nil, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return data, func() { buffers.Put(buffer) }, nil
}
