package rpmmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	startBuffer = 256 << 10
	maxElement  = 8 << 20 // of one package that is kept, or of one tag
)

// window is the part of a document in memory: from what is still needed to the end of what was
// read.
type window struct {
	ctx  context.Context
	r    io.Reader
	buf  []byte
	pos  int   // in buf, of the next byte to look at
	base int64 // offset of buf[0] in the document
	keep int64 // offset from which on the document must stay in buf; -1 means from pos on
	eof  bool
}

func newWindow(ctx context.Context, r io.Reader) window {
	return window{ctx: ctx, r: r, buf: make([]byte, 0, startBuffer), keep: -1}
}

// errEnds means that a document ends too early.
var errEnds = fmt.Errorf("%w: %w", ErrMalformed, io.ErrUnexpectedEOF)

// offset returns the offset of the next byte in the document.
func (w *window) offset() int64 { return w.base + int64(w.pos) }

// bytes returns the kept part of the document from one offset to another.
func (w *window) bytes(from, to int64) []byte { return w.buf[from-w.base : to-w.base] }

// fill reads more of the document into buf. It returns io.EOF if there is no more.
func (w *window) fill() error {
	if w.eof {
		return io.EOF
	}
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	from := w.pos
	if w.keep >= 0 {
		from = int(w.keep - w.base)
	}
	if from > 0 && cap(w.buf)-len(w.buf) < startBuffer/4 {
		n := copy(w.buf, w.buf[from:])
		w.buf, w.pos, w.base = w.buf[:n], w.pos-from, w.base+int64(from)
	}
	if len(w.buf) == cap(w.buf) {
		if len(w.buf) >= maxElement {
			return fmt.Errorf("%w: one element has more than %d bytes", ErrTooLarge, maxElement)
		}
		w.buf = slices.Grow(w.buf, min(len(w.buf), maxElement-len(w.buf)))
	}
	for range 100 {
		n, err := w.r.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+n]
		if err == io.EOF {
			w.eof = true
		} else if err != nil {
			return err
		}
		if n > 0 || w.eof {
			return nil
		}
	}
	return io.ErrNoProgress
}

// ends turns io.EOF into an error where the document must not end.
func ends(err error) error {
	if errors.Is(err, io.EOF) {
		return errEnds
	}
	return err
}

// atLeast ensures that buf has n bytes from pos on.
func (w *window) atLeast(n int) error {
	for len(w.buf)-w.pos < n {
		if err := w.fill(); err != nil {
			return ends(err)
		}
	}
	return nil
}

// find returns the position of sep, relative to pos.
func (w *window) find(sep string) (int, error) {
	for from := 0; ; {
		if n := bytes.Index(w.buf[w.pos+from:], []byte(sep)); n >= 0 {
			return from + n, nil
		}
		from = max(from, len(w.buf)-w.pos-len(sep)+1)
		if err := w.fill(); err != nil {
			return 0, ends(err)
		}
	}
}

// skip advances past the next sep. It calls bound to limit the distance.
func (w *window) skip(sep string, bound func() error) error {
	for {
		if err := bound(); err != nil {
			return err
		}
		if n := bytes.Index(w.buf[w.pos:], []byte(sep)); n >= 0 {
			w.pos += n + len(sep)
			return nil
		}
		w.pos = max(w.pos, len(w.buf)-len(sep)+1)
		if err := w.fill(); err != nil {
			return ends(err)
		}
	}
}
