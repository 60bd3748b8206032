package procfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrForeign means that a proc file system shows another PID namespace than that of this process,
// as after "unshare -p" without --mount-proc. Its numbers mean other processes here, or none.
var ErrForeign = errors.New("it shows the processes of another PID namespace, where numbers mean " +
	"other processes: run lpbuild where that proc belongs, or mount proc in this namespace")

// checked are the roots for which CheckOwn has returned nil.
var checked sync.Map

// CheckOwn returns nil if the proc file system at root shows this process under the number that it
// has for itself, so that a number read there can be passed to the kernel. Otherwise the error is
// ErrForeign, or ErrNoProc, in an [*Error].
func CheckOwn(root string) error {
	if _, ok := checked.Load(root); ok {
		return nil
	}
	if err := checkOwn(root); err != nil {
		return &Error{File: root, Err: err}
	}
	checked.Store(root, true)
	return nil
}

func checkOwn(root string) error {
	self, err := os.Readlink(filepath.Join(root, "self"))
	var fs unix.Statfs_t
	switch {
	case errors.Is(err, unix.ENOENT) && unix.Statfs(root, &fs) == nil &&
		fs.Type == unix.PROC_SUPER_MAGIC:
		// this process is not in the namespace that it shows, nor in one inside of that
		return ErrForeign
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		return ErrNoProc
	case err != nil:
		return fmt.Errorf("%w (%w)", ErrNoProc, err)
	case self != strconv.Itoa(os.Getpid()):
		return ErrForeign
	}
	d, err := Open(root, os.Getpid())
	if err != nil {
		return err
	}
	defer d.Close()
	s, err := d.Status(0)
	if err == nil && s.Depth > 1 { // it is a coincidence that both numbers are the same
		err = ErrForeign
	}
	return err
}
