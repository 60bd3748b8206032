package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/download/digest"
)

// StaleAfter is how long [Store.Prune] keeps an interrupted download that might be resumed.
const StaleAfter = 7 * 24 * time.Hour

// Prune removes the content for which keep returns false, interrupted downloads of such content or
// older than [StaleAfter], and leftovers of dead processes. It keeps what a live process is
// writing, records, and files that the store did not make. It returns the number of bytes removed,
// even if it fails. Files that are open stay readable.
func (s *Store) Prune(ctx context.Context, keep func(digest.Digest) bool) (freed int64, err error) {
	temp, err := s.pruneTemp(ctx)
	rest, restErr := s.prune(ctx,
		pruner{dir: blobsDir, unwanted: func(name string, _ fs.FileInfo) bool {
			d, ok := s.blobDigest(name)
			return ok && !keep(d)
		}},
		pruner{dir: partsDir, locking: true, unwanted: func(name string, fi fs.FileInfo) bool {
			d, ok := partDigest(name)
			return ok && (!keep(d) || time.Since(fi.ModTime()) > StaleAfter)
		}})
	return temp + rest, errors.Join(err, restErr)
}

// pruneTemp removes incoming content of dead processes.
func (s *Store) pruneTemp(ctx context.Context) (freed int64, err error) {
	dirs, err := s.pruneTempDirs(ctx)
	files, filesErr := s.prune(ctx, pruner{dir: tmpDir, locking: true, flat: true,
		unwanted: func(name string, _ fs.FileInfo) bool {
			return strings.HasPrefix(filepath.Base(name), tempPrefix)
		}})
	return dirs + files, errors.Join(err, filesErr)
}

func (s *Store) prune(ctx context.Context, pruners ...pruner) (freed int64, err error) {
	for _, p := range pruners {
		pruneErr := filepath.WalkDir(s.path(p.dir),
			func(name string, entry fs.DirEntry, err error) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err == nil && p.flat && entry.IsDir() && name != s.path(p.dir) {
					return fs.SkipDir
				}
				if err == nil && entry.Type().IsRegular() {
					var n int64
					n, err = p.prune(name, entry)
					freed += n
				}
				if errors.Is(err, fs.ErrNotExist) {
					return nil // another process was faster
				}
				return err
			})
		err = errors.Join(err, pruneErr)
	}
	return freed, err
}

// pruner removes unwanted files below one directory of the store.
type pruner struct {
	dir      string
	locking  bool // files may be removed only under their locks
	flat     bool // it has subdirectories that may be in use
	unwanted func(name string, fi fs.FileInfo) bool
}

// prune removes one file if it is unwanted, and returns the bytes removed.
func (p pruner) prune(name string, entry fs.DirEntry) (int64, error) {
	fi, err := entry.Info()
	if err != nil || !p.unwanted(name, fi) {
		return 0, err
	}
	if p.locking {
		// A process that waits for the lock finds, once it is released below, that the file lost
		// its name, and makes a new one.
		f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if locked, err := tryLock(f); !locked {
			return 0, err
		}
	}
	if err := os.Remove(name); err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// blobDigest returns the digest for a final name.
func (s *Store) blobDigest(name string) (digest.Digest, bool) {
	algorithm := filepath.Base(filepath.Dir(filepath.Dir(name)))
	d, err := digest.New(algorithm, filepath.Base(name))
	return d, err == nil && s.Path(d) == name
}

// partDigest returns the digest for the name of a part.
func partDigest(name string) (digest.Digest, bool) {
	base, isPart := strings.CutSuffix(filepath.Base(name), partSuffix)
	algorithm, value, _ := strings.Cut(base, "-")
	d, err := digest.New(algorithm, value)
	return d, isPart && err == nil
}
