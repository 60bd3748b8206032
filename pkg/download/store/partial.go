package store

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// Partial is content that is still arriving and that survives the process: the next call of
// [Store.Partial] finds the bytes written so far. It is locked against all other processes until
// Commit or Close, and is for one goroutine.
type Partial struct {
	s    *Store
	d    digest.Digest
	f    *os.File // nil after Commit or Close
	sum  hash.Hash
	size int64
}

// Partial opens the part of the content with digest d, empty or with the bytes written so far. It
// waits while another process has it open, as long as ctx allows. If the content is complete,
// before or after the wait, the error wraps [ErrExists].
func (s *Store) Partial(ctx context.Context, d digest.Digest) (*Partial, error) {
	if err := valid(d); err != nil {
		return nil, err
	}
	name := s.path(partsDir, d.Algorithm+"-"+d.Hex+partSuffix)
	done := func() bool { return s.Has(d) }
	f, err := openLocked(ctx, name, done)
	if err != nil {
		return nil, err
	}
	if f != nil && done() { // completed between the check and the lock
		os.Remove(name)
		f.Close()
		f = nil
	}
	if f == nil {
		return nil, fmt.Errorf("%s: %w %s", d, ErrExists, s.dir)
	}
	p := &Partial{s: s, d: d, f: f, sum: d.Hash()}
	if p.size, err = io.Copy(p.sum, readerFunc(ctx, f)); err != nil {
		f.Close()
		return nil, explain("read", name, err)
	}
	return p, nil
}

const partSuffix = ".part"

// Size returns the number of bytes written so far.
func (p *Partial) Size() int64 { return p.size }

// Write appends b.
func (p *Partial) Write(b []byte) (int, error) {
	if p.f == nil {
		return 0, p.closed()
	}
	n, err := hashedFile{p.f, p.sum}.Write(b)
	p.size += int64(n)
	return n, err
}

// Reset discards the bytes written so far.
func (p *Partial) Reset() error {
	if p.f == nil {
		return p.closed()
	}
	if err := p.f.Truncate(0); err != nil {
		return explain("empty", p.f.Name(), err)
	}
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return explain("empty", p.f.Name(), err)
	}
	p.sum.Reset()
	p.size = 0
	return nil
}

// Commit verifies the bytes, makes them content of the store and closes the part. If they do not
// match the digest, the error wraps [digest.ErrMismatch]; the part is then empty and still open.
func (p *Partial) Commit() error {
	if p.f == nil {
		return p.closed()
	}
	if err := p.d.Check(p.sum.Sum(nil)); err != nil {
		return errors.Join(err, p.Reset())
	}
	if err := p.s.place(p.f, p.d); err != nil {
		return err
	}
	return p.Close()
}

// Close unlocks the part and keeps its bytes for later. It does nothing after Commit or Close.
func (p *Partial) Close() error {
	if p.f == nil {
		return nil
	}
	f := p.f
	p.f = nil
	fi, err := f.Stat()
	if err == nil && fi.Size() == 0 {
		if named, err := os.Lstat(f.Name()); err == nil && os.SameFile(fi, named) {
			os.Remove(f.Name()) // nothing to keep
		}
	}
	return explain("close", f.Name(), f.Close())
}

func (p *Partial) closed() error { return fmt.Errorf("part of %s: %w", p.d, os.ErrClosed) }
