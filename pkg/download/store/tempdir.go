package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const tempDirPrefix = "dir-"

// TempDir is a directory for files that become content, on the disk of the store. It belongs to the
// process that made it; after that process dies, opening or pruning the store removes it.
type TempDir struct {
	Path string // absolute

	f *os.File // holds the lock
}

// TempDir returns a new, empty directory.
func (s *Store) TempDir(ctx context.Context) (*TempDir, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		dir, err := os.MkdirTemp(s.path(tmpDir), tempDirPrefix+"*")
		if err != nil {
			return nil, explain("create", s.path(tmpDir), err)
		}
		f, locked, err := lockDir(dir)
		if locked {
			return &TempDir{dir, f}, nil
		}
		// otherwise it was pruned before it was locked
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			os.Remove(dir)
			return nil, err
		}
	}
}

// Remove removes the directory and everything in it.
func (t *TempDir) Remove() error {
	return errors.Join(os.RemoveAll(t.Path), t.f.Close())
}

// lockDir locks a directory against other callers. If somebody else holds the lock, f is nil and
// locked false.
func lockDir(name string) (f *os.File, locked bool, err error) {
	if f, err = os.OpenFile(name, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0); err != nil {
		return nil, false, err
	}
	if locked, err = tryLock(f); !locked {
		f.Close()
		return nil, false, err
	}
	return f, true, nil
}

// pruneTempDirs removes the directories of dead processes, and returns the number of bytes in their
// files.
func (s *Store) pruneTempDirs(ctx context.Context) (freed int64, err error) {
	entries, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			return freed, context.Cause(ctx)
		}
		if !e.IsDir() || !strings.HasPrefix(e.Name(), tempDirPrefix) {
			continue
		}
		n, err := removeTempDir(s.path(tmpDir, e.Name()))
		freed += n
		if !errors.Is(err, fs.ErrNotExist) { // another process was faster
			errs = append(errs, err)
		}
	}
	return freed, errors.Join(errs...)
}

// removeTempDir removes a directory unless its owner is alive.
func removeTempDir(dir string) (freed int64, err error) {
	f, locked, err := lockDir(dir)
	if !locked {
		return 0, err
	}
	defer f.Close()
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // only the sum is affected
		}
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			freed += fi.Size()
		}
		return nil
	})
	return freed, os.RemoveAll(dir)
}
