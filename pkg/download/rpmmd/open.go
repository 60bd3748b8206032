package rpmmd

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/lpbuild/lpbuild/pkg/download/decompress"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// MaxOpenSize is the maximum size of decompressed metadata in bytes: 16 GiB.
const MaxOpenSize = 16 << 30

// Bounds of metadata that do not give their decompressed size: real ones shrink to a tenth, at best
// to a fortieth.
const (
	unknownBase  = 64 << 20 // bytes
	unknownRatio = 100
)

// OpenPrimary returns the content of compressed, decompressed by the suffix of d's location and
// checked against d's digests and sizes. Until Read has returned [io.EOF], earlier data are
// unproven; instead of io.EOF it returns an error that wraps [digest.ErrMismatch], [ErrSize],
// [ErrTooLarge], one of package decompress's, or one of compressed.
//
// Decompression runs ahead in a goroutine, by about a megabyte. The stream must be closed; Close
// waits for that goroutine, and thus for a pending Read of compressed, and does not close
// compressed.
func OpenPrimary(ctx context.Context, d Data, compressed io.Reader) (io.ReadCloser, error) {
	if d.Checksum.IsZero() {
		return nil, fmt.Errorf("%.200s: %w", d.Location, digest.ErrWeak)
	}
	if d.OpenSize > MaxOpenSize || d.Size > MaxOpenSize {
		return nil, fmt.Errorf("%.200s: it announces %d bytes, the limit is %d: %w", d.Location,
			max(d.OpenSize, d.Size), int64(MaxOpenSize), ErrTooLarge)
	}
	format, err := decompress.FromName(d.Location)
	if err != nil {
		return nil, err
	}
	limit := int64(MaxOpenSize)
	if d.OpenSize == 0 && d.Size > 0 {
		limit = min(limit, unknownBase+d.Size*unknownRatio)
	}
	packed := newChecked(compressed, d.Checksum, d.Size)
	ctx, cancel := context.WithCancel(ctx)
	open, err := decompress.NewReader(ctx, format, packed, decompress.Options{MaxSize: limit})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%.200s: %w", d.Location, err)
	}
	ahead := readAhead(ctx, &blaming{open, packed})
	return &stream{
		name: d.Location, cancel: cancel, ahead: ahead,
		checked: newChecked(ahead, d.OpenChecksum, d.OpenSize),
	}, nil
}

// stream is the reader that OpenPrimary returns.
type stream struct {
	name    string
	cancel  context.CancelFunc
	ahead   *aheadReader
	checked *checkedReader
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.checked.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%.200s: %w", s.name, err)
	}
	return n, err
}

func (s *stream) Close() error {
	s.cancel()
	return s.ahead.Close()
}

// checkedReader passes on what it reads, and replaces io.EOF by an error if the content is wrong.
// It passes on nothing beyond the size.
type checkedReader struct {
	mu   sync.Mutex // a stopped decompressor may have a pending Read
	r    io.Reader
	want digest.Digest
	hash hash.Hash // nil means any digest
	size int64     // 0 means any size
	n    int64
	err  error
}

func newChecked(r io.Reader, want digest.Digest, size int64) *checkedReader {
	c := &checkedReader{r: r, want: want, size: size}
	if !want.IsZero() {
		c.hash = want.Hash()
	}
	return c
}

func (c *checkedReader) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	if c.size > 0 && int64(n) > c.size-c.n {
		n = int(c.size - c.n)
		err = fmt.Errorf("%w: more than %d bytes", ErrSize, c.size)
	}
	c.n += int64(n)
	if c.hash != nil {
		c.hash.Write(p[:n])
	}
	if errors.Is(err, io.EOF) {
		err = c.verdict()
	}
	c.err = err
	return n, err
}

// verdict returns io.EOF, or what is wrong with the content.
func (c *checkedReader) verdict() error {
	if c.size > 0 && c.n != c.size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrSize, c.n, c.size)
	}
	if c.hash != nil {
		if err := c.want.Check(c.hash.Sum(nil)); err != nil {
			return err
		}
	}
	return io.EOF
}

// blaming reads decompressed data. If they are damaged, it first checks the compressed data, since
// only those are within the user's reach.
type blaming struct {
	open   io.ReadCloser
	packed *checkedReader
}

func (b *blaming) Read(p []byte) (int, error) {
	n, err := b.open.Read(p)
	if errors.Is(err, decompress.ErrCorrupt) {
		if _, wrong := io.Copy(io.Discard, b.packed); wrong != nil {
			err = fmt.Errorf("%w (%w)", wrong, err)
		}
	}
	return n, err
}

func (b *blaming) Close() error { return b.open.Close() }
