package ulpcli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/lpbuild/lpbuild/internal/atomicfile"
	"github.com/lpbuild/lpbuild/internal/console"
	"github.com/lpbuild/lpbuild/internal/regularfile"
)

// maxObject bounds the shared objects that are read, in bytes.
const maxObject = 1 << 31

// reason returns the text of an error about the file without its name, for messages that already
// name it.
func reason(err error, file string) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok && e.Path != file && file != "" {
		return err.Error() // about another file
	} else if ok {
		return e.Err.Error()
	}
	return strings.TrimPrefix(err.Error(), file+": ")
}

// readRegular reads a regular file of at most limit bytes. It does not block on a FIFO.
func readRegular(path string, limit int64) ([]byte, error) {
	f, info, err := regularfile.Open(path)
	if errors.Is(err, regularfile.ErrIrregular) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info.Size() > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %s",
			console.Size(limit))}
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(f, data)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return data, nil
}

// writeFile replaces the content of a file by rename, so that the file is complete, old or new,
// whenever the program is killed. An existing file keeps its mode and owner. A symbolic link is
// followed. Pipes and devices are written to.
func writeFile(path string, data []byte, mode fs.FileMode) error {
	former, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			return &fs.PathError{Op: "write", Path: path,
				Err: errors.New("a dangling symbolic link")}
		}
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return err
		}
		return explainWrite(path, atomicfile.Write(path, data, mode))
	case err != nil:
		return err
	case !former.Mode().IsRegular():
		return writeThrough(path, data)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if err := explainWrite(path, atomicfile.Write(real, data, former.Mode())); err != nil {
		return err
	}
	return keepOwner(real, former)
}

func writeThrough(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// explainWrite adds what to do: replacing a file requires write permission for its directory,
// whatever the file's own mode.
func explainWrite(path string, err error) error {
	e, ok := errors.AsType[*fs.PathError](err)
	if ok && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return fmt.Errorf("%s was not changed: the directory %s must be writable: %w", path,
			filepath.Dir(path), e.Err)
	}
	return err
}

// keepOwner gives the file the owner of the file that it replaced. Only root can do that; for
// others there is rarely a need.
func keepOwner(path string, former fs.FileInfo) error {
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	was, ok1 := former.Sys().(*syscall.Stat_t)
	is, ok2 := now.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || was.Uid == is.Uid && was.Gid == is.Gid || os.Geteuid() != 0 {
		return nil
	}
	// chown takes set-user-id away
	return errors.Join(os.Lchown(path, int(was.Uid), int(was.Gid)), os.Chmod(path, former.Mode()))
}
