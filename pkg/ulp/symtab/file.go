package symtab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// maxFile bounds the files that are read, in bytes.
const maxFile = 1 << 31

// openFile opens a regular file of bounded size. It does not wait for the other end of a FIFO.
func openFile(path string) (f *os.File, size int64, err error) {
	f, fi, err := regularfile.Open(path)
	switch {
	case errors.Is(err, regularfile.ErrIrregular):
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	case err != nil:
		return nil, 0, err
	case fi.Size() > maxFile:
		f.Close()
		return nil, 0, &os.PathError{Op: "read", Path: path,
			Err: fmt.Errorf("%w: larger than 2 GiB", ErrUnsupported)}
	}
	return f, fi.Size(), nil
}

// buffers are for the bytes of files, since a third of the time to read a catalogue would otherwise
// go into fresh memory. The collector empties the pool.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// readAll returns all bytes of a file of that size. They must not be used after release, which must
// be called.
func readAll(f *os.File, size int64) (data []byte, release func(), err error) {
	buffer := buffers.Get().(*[]byte)
	if int64(cap(*buffer)) < size {
		*buffer = make([]byte, size)
	}
	data = (*buffer)[:size:size]
	if _, err := io.ReadFull(f, data); err != nil {
		buffers.Put(buffer)
		return nil, nil, &os.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	return data, func() { buffers.Put(buffer) }, nil
}
