package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/engine"
	"github.com/lpbuild/lpbuild/pkg/engine/process"
)

// lookTime is how long a process's file system may take to answer: the process's owner may have
// made it.
const lookTime = 2 * time.Second

// Reasons why a process is left alone. The first is an [engine.ErrElsewhere].
var (
	errOwnRoot = fmt.Errorf("%w: it does not see the package's live patches at their path (a "+
		"container, a chroot, a service with a root of its own): install the package there, or "+
		"restart it", engine.ErrElsewhere)
	errNoAnswer = errors.New("it is unknown whether it belongs to this system: its file systems " +
		"do not answer")
)

// ours recognises the processes of this system: those that see the directory of live patches as the
// same directory.
type ours struct {
	proc        string
	directories []string // absolute, as the processes see them
	ids         []fileID
}

// fileID identifies a file: two names with one fileID are names of the same file.
type fileID struct{ dev, ino uint64 }

// newOurs takes directories as this process sees them; seen returns their paths for the other
// processes.
func newOurs(proc string, directories []string, seen func(string) string) (*ours, error) {
	o := &ours{proc: proc}
	for _, d := range directories {
		var st unix.Stat_t
		if err := unix.Stat(d, &st); err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
		o.directories = append(o.directories, seen(d))
		o.ids = append(o.ids, newFileID(&st))
	}
	return o, nil
}

//nolint:unconvert // of 32 bits elsewhere
func newFileID(st *unix.Stat_t) fileID { return fileID{uint64(st.Dev), st.Ino} }

// has looks through a process's root directory, and returns why the process is not ours, or not
// known to be; nil if it is.
func (o *ours) has(ctx context.Context, p *process.Process) error {
	if p.Denied {
		return nil // the engine reports what becomes of it
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	yes, err := process.Whole(ctx, func(ctx context.Context) (bool, error) {
		return o.sees(ctx, p)
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, process.ErrBusy):
		return errNoAnswer
	case errors.Is(err, process.ErrGone):
		return process.ErrGone
	case err != nil:
		return fmt.Errorf("it is unknown whether it belongs to this system: %w", err)
	case !yes:
		return errOwnRoot
	}
	return nil
}

// sees reports whether a process sees one of the directories as the same one.
func (o *ours) sees(ctx context.Context, p *process.Process) (bool, error) {
	root, err := o.root(ctx, p)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(root) }()
	var unknown error
	for i, directory := range o.directories {
		switch same, err := o.same(root, directory, o.ids[i]); {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		case errors.Is(err, unix.EACCES) && os.Geteuid() == 0:
			// The path goes through something that does not even admit root, such as a user's FUSE
			// or a link in proc, so it is not the path to id.
		case err != nil:
			unknown = err
		case same:
			return true, nil
		}
	}
	return false, unknown
}

func (o *ours) same(root int, path string, id fileID) (bool, error) {
	fd, err := openRooted(root, path)
	if err != nil {
		return false, err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	return err == nil && newFileID(&st) == id, err
}

// root opens the root directory of a process, through another thread if the first one has ended. It
// follows a link, which package procfs never does; afterwards it checks that the PID still belongs
// to the same process.
func (o *ours) root(ctx context.Context, p *process.Process) (fd int, err error) {
	dir := filepath.Join(o.proc, strconv.Itoa(p.PID))
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err = unix.Open(filepath.Join(dir, "root"), flags, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		threads, listErr := p.ThreadList(ctx)
		if listErr != nil {
			return -1, listErr
		}
		for _, t := range threads {
			if fd, err = unix.Open(filepath.Join(dir, "task", strconv.Itoa(t.TID), "root"), flags,
				0); err == nil {
				break
			}
		}
	}
	verifyErr := p.Verify(ctx)
	if verifyErr != nil {
		if err == nil {
			_ = unix.Close(fd)
		}
		return -1, verifyErr
	}
	return fd, err
}
