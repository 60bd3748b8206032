package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// readerFunc returns r with a check of ctx before every read, so that copying a large file can be
// cancelled.
func readerFunc(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(b)
}

// openRegular opens a file for reading if it is regular: reading from a FIFO could block forever.
func openRegular(name string) (*os.File, error) {
	f, _, err := regularfile.Open(name)
	return f, err
}

const tempPrefix = "in-"

// createTemp returns a new locked file in the store's directory for incoming content. The lock
// tells [Store.Prune] in any process that the file is in use.
func (s *Store) createTemp(ctx context.Context) (*os.File, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f, err := os.CreateTemp(s.path(tmpDir), tempPrefix+"*")
		if err != nil {
			return nil, explain("create", s.path(tmpDir), err)
		}
		locked, err := tryLock(f)
		if locked {
			return f, nil
		}
		os.Remove(f.Name())
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// openLocked opens the file name, creating it if needed, and waits until no other process has it
// locked. It gives up when ctx is done, and returns a nil file once done reports that waiting is
// pointless.
func openLocked(ctx context.Context, name string, done func() bool) (*os.File, error) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		if done() {
			return nil, nil
		}
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, explain("open", name, err)
		}
		locked, err := tryLock(f)
		if locked {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the process that writes %s: %w", name,
				context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

// tryLock locks f for this open file. It returns false if somebody else holds the lock, or if the
// file lost its name before it was locked, because a former holder renamed or removed it.
func tryLock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK), errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("lock %s: %w: the store must be on a local disk", f.Name(), err)
	}
	named, err := os.Lstat(f.Name())
	return err == nil && sameFile(f, named), nil
}
