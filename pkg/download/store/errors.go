package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

var (
	// ErrMissing says that something is not in the store.
	ErrMissing = errors.New("not in the store")
	// ErrExists says that there is nothing left to do: the content is in the store.
	ErrExists = errors.New("already in the store")
	// ErrTooLarge says that content went beyond the size that the caller allows.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrFull says that the disk, the user's quota or the limit for the size of a file left no room.
	ErrFull = errors.New("no room left for the store")
)

// explain returns err with the file it is about and, if there is no room left, with what to do about it.
func explain(what, name string, err error) error {
	if err == nil {
		return nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Path == name {
		err = pe.Err // the name is said already
	}
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%s %s: %w: %w: make room there, or set %s to a folder on a larger disk",
				what, name, ErrFull, err, EnvDir)
		}
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}
