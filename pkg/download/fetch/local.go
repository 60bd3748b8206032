package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/lpbuild/lpbuild/internal/regularfile"
	"github.com/lpbuild/lpbuild/pkg/download/digest"
	"github.com/lpbuild/lpbuild/pkg/download/store"
)

// openLocal opens a regular file and returns its size. It does not block on a FIFO.
func openLocal(l Location) (*os.File, int64, error) {
	f, info, err := regularfile.Open(l.LocalPath())
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, 0, fmt.Errorf("%s: %w", l, ErrNotFound)
	case errors.Is(err, regularfile.ErrIrregular):
		return nil, 0, fmt.Errorf("%s: not a regular file", l)
	case err != nil:
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// localBytes implements Bytes for a local file.
func localBytes(ctx context.Context, l Location, limit int64) ([]byte, error) {
	f, size, err := openLocal(l)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	data, err := io.ReadAll(io.LimitReader(f, max(limit, limit+1)))
	if err != nil {
		return nil, err
	}
	if size > limit || int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", l, ErrTooLarge, limit)
	}
	return data, nil
}

// localToStore implements ToStore for a local file.
func localToStore(ctx context.Context, l Location, st *store.Store, want Want,
	progress func(done, total int64)) error {
	f, size, err := openLocal(l)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := want.checkSize(size); err != nil {
		return fmt.Errorf("%s: %w", l, err)
	}
	if _, err := st.Put(ctx, want.Digest, &countingReader{r: f, total: size, progress: progress},
		size); err != nil {
		return fmt.Errorf("%s: %w", l, err)
	}
	return nil
}

// countingReader reports progress through a file.
type countingReader struct {
	r           io.Reader
	done, total int64
	progress    func(done, total int64)
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if n > 0 {
		c.done += int64(n)
		c.progress(c.done, c.total)
	}
	return n, err
}

// checkSize compares a size that is known in advance with the wanted one.
func (w Want) checkSize(size int64) error {
	switch {
	case w.Size <= 0 || size == w.Size:
		return nil
	case size > w.Size:
		return fmt.Errorf("%w: it has %d bytes, want %d", ErrTooLarge, size, w.Size)
	}
	return fmt.Errorf("%w: it has %d bytes, want %d", digest.ErrMismatch, size, w.Size)
}
