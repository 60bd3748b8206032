package libpulp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/lpbuild/lpbuild/pkg/ulp"
)

// ErrComments means that the comments of a patch cannot be read: its file is gone, or is not what
// was loaded.
var ErrComments = errors.New("the comments of the container's file cannot be read")

// maxContainer bounds the size of a container's file that is read for its comments.
const maxContainer = 16 << 20

// maxStuck is how many files may hang at the same time.
const maxStuck = 64

var stuck atomic.Int64

// Comments returns what a patch that is applied says of itself: the only thing that is not in the
// process's memory, but in the container's file. The file is looked for where the process sees it,
// opened only if it is a regular file of up to 16 MiB, which cannot block unless its file system
// does (then the call ends with ctx), and believed only if it has the build-id of the patch's id.
// The error is ctx's, or wraps [ErrComments].
//
// The same patch has the same comments in every process of the same user.
func (r *Runtime) Comments(ctx context.Context, a *Applied) (string, error) {
	pid, path, id := r.pid, a.Container, a.ID
	if len(a.Functions) > 0 && !strings.HasPrefix(path, "/") {
		// early versions keep the base name only
		if l := r.libraryAt(a.Functions[0].New); l != nil {
			path = l.Path
		}
	}
	return answered(ctx, func() (string, error) { return commentsOf(pid, path, id) })
}

// answered calls f, which reads a file, and ends with ctx if the file system does not answer.
func answered[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if stuck.Load() >= maxStuck {
		return none, fmt.Errorf("%w: too many files do not answer", ErrComments)
	}
	done := make(chan result, 1)
	go func() {
		stuck.Add(1)
		defer stuck.Add(-1)
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case res := <-done:
		return res.v, res.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

func commentsOf(pid int, path string, id [32]byte) (string, error) {
	image, err := readContainer(pid, path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrComments, err)
	}
	c, err := ulp.ParseContainer(image)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrComments, err)
	}
	if len(c.BuildID) < 16 || !bytes.Equal(c.BuildID[:16], id[:16]) {
		return "", fmt.Errorf("%w: it is another one", ErrComments)
	}
	text, _ := c.Section(ulp.SectionComments)
	return string(bytes.TrimRight(text, "\x00")), nil
}

// readContainer reads a file as a process sees it.
func readContainer(pid int, path string) ([]byte, error) {
	at, err := openIn(pid, path)
	if err != nil {
		return nil, err
	}
	f, size, err := openRegular(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > maxContainer {
		return nil, errors.New("larger than 16 MiB")
	}
	return io.ReadAll(io.LimitReader(f, maxContainer))
}

// openIn opens a file as a process sees it, as a mere path, which does nothing to a FIFO or a
// device. It follows the link "root", which package procfs never does. If the number belongs to
// another process by now, it opens a file of that one, which is believed only if it is the
// container.
func openIn(pid int, path string) (at int, err error) {
	root, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/root",
		unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(root) }()
	return unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
}

// openRegular opens the file that at is the mere path of, if it is a regular one, and closes at.
func openRegular(at int) (f *os.File, size int64, err error) {
	defer func() { _ = unix.Close(at) }()
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, 0, errors.New("not a regular file")
	}
	f, err = os.OpenFile("/proc/self/fd/"+strconv.Itoa(at), os.O_RDONLY|unix.O_NONBLOCK, 0)
	return f, st.Size, err
}
