// Package store keeps content under its digest in the user's cache directory, shared by all
// packages and all processes of that user, so that nothing is fetched twice.
//
// A file with a final name is complete and was hashed when it was stored. Content is written to a
// temporary file, synced, verified and only then renamed. A process that dies at any moment leaves
// at worst a temporary file, which the next [Open] removes, or a part, which [Store.Partial]
// continues.
//
// The layout below the store's directory is
//
//	blobs/<algorithm>/<first two digits>/<digest>   finished content, read-only
//	parts/<algorithm>-<digest>.part                 running or interrupted downloads
//	records/<kind>/<first two digits>/<hash of key> small values, see [Store.SetRecord]
//	tmp/                                            incoming content, [Store.TempDir]
//
// The store fetches nothing and does not interpret its content. Its locks are flock(2) locks, so it
// must be on a local disk. Anybody who can write to the directory can change the content: [Open]
// rejects a world-writable directory, and [Store.OpenVerified] hashes the content again.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// envDir is the environment variable that replaces the user's cache directory as the location of
// the store.
const envDir = "LPBUILD_CACHE"

// Store is a directory of content. Its methods may be called by several goroutines and processes at
// once.
type Store struct {
	dir string
}

// DefaultDir returns the directory of the user's store: $LPBUILD_CACHE, which must be an absolute
// path, or else "lpbuild" in the user's cache directory.
func DefaultDir() (string, error) {
	if dir := os.Getenv(envDir); dir != "" {
		if !filepath.IsAbs(dir) {
			return "", fmt.Errorf("%s is %q: it must be an absolute path", envDir, dir)
		}
		return filepath.Clean(dir), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for the store: %w: set %s", err, envDir)
	}
	return filepath.Join(cache, "lpbuild"), nil
}

// Open returns the store in dir and creates what is missing, readable by the user only. It removes
// temporary files of dead processes.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explain("open store", dir, err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if fi.Mode().Perm()&0o002 != 0 {
		return nil, fmt.Errorf("open store: %s: this directory is world-writable: fix that with "+
			"chmod o-w, or set %s", dir, envDir)
	}
	for _, sub := range []string{blobsDir, partsDir, recordsDir, tmpDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, explain("open store", filepath.Join(dir, sub), err)
		}
	}
	s := &Store{dir}
	_, _ = s.pruneTemp(context.Background()) // the next write that needs the space gets the error
	return s, nil
}

const (
	blobsDir   = "blobs"
	partsDir   = "parts"
	recordsDir = "records"
	tmpDir     = "tmp"
)

// Dir returns the absolute path of the store's directory.
func (s *Store) Dir() string { return s.dir }

// Path returns the final name of d's content, whether it exists or not. It returns "" for digests
// that [digest.New] would not return, including the zero Digest.
func (s *Store) Path(d digest.Digest) string {
	if valid(d) != nil {
		return ""
	}
	return filepath.Join(s.dir, blobsDir, d.Algorithm, d.Hex[:2], d.Hex)
}

// valid returns an error unless d can safely become a file name.
func valid(d digest.Digest) error {
	if d.IsZero() {
		return errors.New("no digest given")
	}
	same, err := digest.New(d.Algorithm, d.Hex)
	if err == nil && same != d {
		err = fmt.Errorf("digest %.80q is not in lower case", d.String())
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// Has reports whether the content with digest d is in the store. It does not read it.
func (s *Store) Has(d digest.Digest) bool {
	name := s.Path(d)
	if name == "" {
		return false
	}
	fi, err := os.Lstat(name)
	return err == nil && fi.Mode().IsRegular()
}

// Open opens the content with digest d for reading, and trusts that it is unchanged since it was
// stored. The error wraps [ErrMissing] if it is not in the store.
func (s *Store) Open(d digest.Digest) (*os.File, error) {
	if err := valid(d); err != nil {
		return nil, err
	}
	f, err := openRegular(s.Path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w %s", d, ErrMissing, s.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return f, nil
}

// OpenVerified opens the content with digest d after hashing it. Content that has changed is
// removed, and the error then wraps [ErrMissing] and [digest.ErrMismatch].
func (s *Store) OpenVerified(ctx context.Context, d digest.Digest) (*os.File, error) {
	f, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	if err := s.verify(ctx, f, d); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// verify hashes f, removes it if it is not d's content, and seeks back to its start.
func (s *Store) verify(ctx context.Context, f *os.File, d digest.Digest) error {
	sum := d.Hash()
	if _, err := io.Copy(sum, readerFunc(ctx, f)); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := d.Check(sum.Sum(nil)); err != nil {
		// Another process may have replaced it by good content meanwhile: only this very file is
		// removed.
		if now, statErr := os.Lstat(f.Name()); statErr == nil && sameFile(f, now) {
			os.Remove(f.Name())
		}
		return fmt.Errorf("%s: changed on disk and removed: %w: %w %s", f.Name(), err, ErrMissing,
			s.dir)
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// sameFile reports whether fi describes the file that f has open.
func sameFile(f *os.File, fi fs.FileInfo) bool {
	open, err := f.Stat()
	return err == nil && os.SameFile(open, fi)
}

// path returns the path of something below the store's directory.
func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}
