// Package atomicfile writes files that appear completely or not at all.
//
// Whatever ends the program, the name refers to the old or the new content. That holds even for a
// power failure, since the data are synced before the file gets its name. The file's directory is
// created if necessary.
package atomicfile

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write writes data to a file with that name and mode, replacing a former one. A symbolic link with
// that name is replaced, not followed. The error is an [*fs.PathError] with that name, or with that
// of a directory that cannot be created.
func Write(name string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := write(dir, name, data, mode); err != nil {
		return &fs.PathError{Op: "write", Path: name, Err: withoutPath(err)}
	}
	return nil
}

func write(dir, name string, data []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename
	_, err = tmp.Write(data)
	if err := cmp.Or(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// withoutPath returns the reason alone: the temporary file's name is of no use to the user.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
