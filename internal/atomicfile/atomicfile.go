// Package atomicfile writes files that appear whole or not at all.
//
// Whatever ends the program, the name stands for the old content or the new one. So it does after a loss of power, since the
// bytes are on the disk before the name is theirs; which of the two it is nobody knows until then. The folder of the file is
// made if it is missing.
package atomicfile

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write writes data to a file of that name and mode, replacing a former one. A symbolic link of that name is replaced, not
// followed. The error is an [*fs.PathError] of that name, or of the folder that cannot be made.
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
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(data)
	if err := cmp.Or(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// withoutPath returns the reason alone: the temporary file's name tells nobody anything.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
