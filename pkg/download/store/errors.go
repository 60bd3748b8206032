package store

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

var (
	// ErrMissing means that content is not in the store.
	ErrMissing = errors.New("not in the store")
	// ErrExists means that there is nothing left to do, since the content is in the store.
	ErrExists = errors.New("already in the store")
	// ErrTooLarge means that content exceeds the caller's limit.
	ErrTooLarge = errors.New("larger than allowed")
	// ErrFull means that the disk, the user's quota or the file size limit leaves no room.
	ErrFull = errors.New("no room left for the store")
)

// explain returns err with the file it is about and, if there is no room left, with advice.
func explain(what, name string, err error) error {
	if err == nil {
		return nil
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Path == name {
		err = pe.Err // the error names the file already
	}
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%s %s: %w: %w: make room there, or set %s to a directory on a "+
				"larger disk",
				what, name, ErrFull, err, envDir)
		}
	}
	return fmt.Errorf("%s %s: %w", what, name, err)
}
