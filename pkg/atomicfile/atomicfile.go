// Package atomicfile writes files that appear whole or not at all.
//
// Whatever ends the program, the name stands for the old content or the new one. So it does after a loss of power, since the
// bytes are on the disk before the name is theirs; which of the two it is nobody knows until then. The folder of the file is
// made if it is missing.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write writes data to a file of that name and mode, replacing a former one. A symbolic link of that name is replaced, not
// followed.
func Write(name string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it is renamed
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.Rename(tmp.Name(), name)
}
