package rtld

import (
	"context"
	"encoding/binary"
)

// Reader is memory: that of a process, or of a test.
type Reader interface {
	// ReadAt reads len(b) bytes at an address. If it returns an error, n of them are there.
	ReadAt(b []byte, addr uint64) (n int, err error)
}

// Source is memory that is read in walks. [process.Memory] and [process.File] implement it.
type Source interface {
	// Walk runs f and returns its result. An error names what was read, and the process.
	//
	// f may be left behind when ctx ends. Its result is therefore what it returns, and nothing
	// else.
	Walk(ctx context.Context, what string, f func(r Reader) (any, error)) (any, error)
}

// Direct returns a Source that reads from r. It neither waits for a context nor adds anything to an
// error.
func Direct(r Reader) Source { return directSource{r} }

type directSource struct{ r Reader }

func (d directSource) Walk(_ context.Context, _ string,
	f func(r Reader) (any, error)) (any, error) {
	return f(d.r)
}

// readFull reads all of b or nothing.
func readFull(r Reader, b []byte, addr uint64) error {
	_, err := r.ReadAt(b, addr)
	return err
}

var le = binary.LittleEndian
