package decompress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
)

// reader is the type that NewReader returns: a decoder, wrapped with what all formats share.
type reader struct {
	ctx    context.Context
	format Format
	src    *source
	dec    io.ReadCloser
	limit  int64 // Options.MaxSize
	left   int64 // what is left of it
	err    error // the result of every further Read
}

// Read returns decompressed data. Only io.EOF means that they are complete.
func (d *reader) Read(p []byte) (int, error) {
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	if d.err = context.Cause(d.ctx); d.err != nil {
		return 0, d.err
	}
	if d.limit > 0 && int64(len(p)) > d.left {
		p = p[:d.left+1] // one byte too many shows that the limit is exceeded
	}
	n, err := d.dec.Read(p)
	if d.limit > 0 && int64(n) > d.left {
		n = int(d.left)
		d.err = fmt.Errorf("%s: decompressed data of more than %d bytes: %w", d.format, d.limit,
			ErrTooLarge)
		return n, d.err
	}
	d.left -= int64(n)
	if err != nil {
		d.err = d.reason(err)
	}
	return n, d.err
}

// reason turns the error that ended a decoder into the caller's error.
func (d *reader) reason(err error) error {
	if errors.Is(err, io.EOF) {
		err = d.src.finish(d.format)
	}
	switch cause, srcErr := context.Cause(d.ctx), d.src.failure(); {
	case errors.Is(err, io.EOF):
		return io.EOF
	case cause != nil:
		return cause
	case srcErr != nil:
		return srcErr
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrUnsupported), errors.Is(err, errProcess):
		return fmt.Errorf("%s: %w", d.format, err)
	}
	return fmt.Errorf("%s: %w: %w", d.format, ErrCorrupt, err)
}

// Close ends the decoder. It may be called more than once.
func (d *reader) Close() error {
	if d.dec == nil {
		return nil
	}
	err := d.dec.Close()
	d.dec = nil
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", d.format, fs.ErrClosed)
	}
	return err
}

// source is the compressed input. It remembers its reader's error, which decoders may take for
// damage or for the end, and it fails once ctx is done. A decoder may read it in another goroutine.
type source struct {
	ctx  context.Context
	r    io.Reader
	some atomic.Bool // whether there was a byte
	err  atomic.Pointer[error]
}

func (s *source) Read(p []byte) (int, error) {
	if err := s.failure(); err != nil {
		return 0, err
	}
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p)
	if n > 0 {
		s.some.Store(true)
	}
	if err != nil && err != io.EOF {
		s.err.Store(&err)
	}
	return n, err
}

// failure returns the underlying reader's error, if there was one.
func (s *source) failure() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// finish returns io.EOF if the source ends where its decoder has ended.
func (s *source) finish(f Format) error {
	switch err := s.failure(); {
	case err != nil:
		return err
	case f == None:
		return io.EOF
	case !s.some.Load():
		return io.ErrUnexpectedEOF
	}
	if n, err := io.ReadFull(s, make([]byte, 1)); n > 0 {
		return errTrailing
	} else {
		return err
	}
}

// errTrailing means that the last stream is followed by something else.
var errTrailing = errors.New("data after the end")
