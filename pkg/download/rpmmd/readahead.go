package rpmmd

import (
	"context"
	"io"
	"io/fs"
)

const (
	aheadBuffers = 4
	aheadSize    = 256 << 10
)

// aheadReader reads in another goroutine, so that decompressing and parsing use two processors.
type aheadReader struct {
	cancel context.CancelFunc
	full   chan piece  // closed after the last piece
	free   chan []byte // free buffers
	now    piece       // the piece being read
	rest   []byte      // the rest of it
	closed bool
}

// piece is the result of filling one buffer.
type piece struct {
	data []byte
	err  error
}

// readAhead starts reading r, and closes it at the end.
func readAhead(ctx context.Context, r io.ReadCloser) *aheadReader {
	ctx, cancel := context.WithCancel(ctx)
	a := &aheadReader{cancel: cancel, full: make(chan piece, aheadBuffers+1),
		free: make(chan []byte, aheadBuffers)}
	for range aheadBuffers {
		a.free <- make([]byte, aheadSize)
	}
	go a.run(ctx, r)
	return a
}

// run reads until an error. full has room for all buffers and an error, so that sending never
// blocks.
func (a *aheadReader) run(ctx context.Context, r io.ReadCloser) {
	defer close(a.full)
	defer r.Close()
	for {
		select {
		case <-ctx.Done():
			a.full <- piece{err: context.Cause(ctx)}
			return
		case buf := <-a.free:
			n, err := readFull(r, buf)
			a.full <- piece{buf[:n], err}
			if err != nil {
				return
			}
		}
	}
}

// readFull reads until p is full or a read fails, and returns that error unchanged.
func readFull(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

func (a *aheadReader) Read(p []byte) (int, error) {
	if a.closed {
		return 0, fs.ErrClosed
	}
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.data != nil {
			a.free <- a.now.data[:cap(a.now.data)]
		}
		a.now = <-a.full
		a.rest = a.now.data
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the goroutine and waits for it.
func (a *aheadReader) Close() error {
	a.closed = true
	a.cancel()
	for range a.full {
	}
	return nil
}
