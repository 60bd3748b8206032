package store

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// Put reads all of r, at most limit bytes, into the store and returns its digest. If d is not zero,
// the content must have that digest, or the error wraps [digest.ErrMismatch]. If d is zero, the
// content is stored under its SHA-256. More than limit bytes are an error that wraps [ErrTooLarge].
// After any error nothing is kept. Content that is already in the store is not read.
func (s *Store) Put(ctx context.Context, d digest.Digest, r io.Reader,
	limit int64) (digest.Digest, error) {
	if !d.IsZero() {
		if err := valid(d); err != nil {
			return digest.Digest{}, err
		}
		if s.Has(d) {
			return d, nil
		}
	}
	f, err := s.createTemp(ctx)
	if err != nil {
		return digest.Digest{}, err
	}
	defer f.Close()
	got, err := s.fill(ctx, f, d, r, limit)
	if err == nil {
		err = s.place(f, got)
	}
	if err != nil {
		os.Remove(f.Name())
		return digest.Digest{}, err
	}
	return got, nil
}

// PutFile copies a regular file into the store and returns its SHA-256, under which it is kept. The
// file stays where it is.
func (s *Store) PutFile(ctx context.Context, name string) (digest.Digest, error) {
	f, err := openRegular(name)
	if err != nil {
		return digest.Digest{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return digest.Digest{}, err
	}
	got, err := s.Put(ctx, digest.Digest{}, f, fi.Size())
	if err != nil {
		return digest.Digest{}, fmt.Errorf("store %s: %w", name, err)
	}
	return got, nil
}

// fill copies r into f and returns the digest of what was copied.
func (s *Store) fill(ctx context.Context, f *os.File, d digest.Digest, r io.Reader,
	limit int64) (digest.Digest, error) {
	algorithm := d
	if d.IsZero() {
		algorithm.Algorithm = "sha256"
	}
	sum := algorithm.Hash()
	n, err := io.Copy(hashedFile{f, sum}, io.LimitReader(readerFunc(ctx, r), max(limit, limit+1)))
	if err != nil {
		return digest.Digest{}, err
	}
	if n > limit {
		return digest.Digest{}, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	if d.IsZero() {
		return digest.New("sha256", fmt.Sprintf("%x", sum.Sum(nil)))
	}
	return d, d.Check(sum.Sum(nil))
}

// place makes the finished temporary file f the content of d. A power failure at this moment can
// lose the new name, but never leaves it on incomplete content: the content is synced before, and
// the directory is not synced after.
func (s *Store) place(f *os.File, d digest.Digest) error {
	name := s.Path(d)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return explain("create", filepath.Dir(name), err)
	}
	if err := f.Sync(); err != nil {
		return explain("sync", f.Name(), err)
	}
	// Existing content is never replaced: it is the same, and somebody may be reading it.
	err := os.Link(f.Name(), name)
	if errors.Is(err, fs.ErrExist) && s.Has(d) {
		os.Remove(f.Name())
		return nil
	}
	if err == nil {
		os.Remove(f.Name())
	} else if err := os.Rename(f.Name(), name); err != nil {
		// a file system without links, or something else has the name
		return explain("create", name, err)
	}
	_ = f.Chmod(0o444) // only against accidents; a part without a final name must stay writable
	return nil
}

// hashedFile writes to a file and hashes what was written. Its errors name the file, which
// distinguishes them from errors of the reader that is copied from.
type hashedFile struct {
	f   *os.File
	sum hash.Hash
}

func (w hashedFile) Write(b []byte) (int, error) {
	n, err := w.f.Write(b)
	w.sum.Write(b[:n])
	return n, explain("write", w.f.Name(), err)
}
