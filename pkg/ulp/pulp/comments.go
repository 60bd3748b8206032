package pulp

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

// ErrComments says that the comments of a patch cannot be read: its file is gone, or is not what was loaded.
var ErrComments = errors.New("no comments to be had from the container's file")

// maxContainer bounds the size of a container's file that is read for its comments.
const maxContainer = 16 << 20

// maxStuck is how many files may hang at the same time.
const maxStuck = 64

var stuck atomic.Int64

// Comments returns what a patch that is applied says of itself: the only thing that is not in the process's memory, but in
// the container's file. The file is looked for where the process sees it, opened only if it is a regular file of up to
// 16 MiB, which cannot block unless its file system does (then the call ends with ctx), and believed only if it has the
// build-id of the patch's id. The error is ctx's, or wraps [ErrComments].
//
// The same patch has the same comments in every process of the same user.
func (r *Runtime) Comments(ctx context.Context, a *Applied) (string, error) {
	if stuck.Load() >= maxStuck {
		return "", fmt.Errorf("%w: too many files do not answer", ErrComments)
	}
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	pid, path, id := r.pid, a.Container, a.ID
	if len(a.Functions) > 0 && !strings.HasPrefix(path, "/") { // early versions keep the base name only
		if l := r.libraryAt(a.Functions[0].New); l != nil {
			path = l.Path
		}
	}
	go func() {
		stuck.Add(1)
		defer stuck.Add(-1)
		s, err := commentsOf(pid, path, id)
		done <- result{s, err}
	}()
	select {
	case res := <-done:
		return res.text, res.err
	case <-ctx.Done():
		return "", ctx.Err()
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

// readContainer reads a file as a process sees it. It is opened as a mere path first, which does nothing to a FIFO or a
// device.
func readContainer(pid int, path string) ([]byte, error) {
	root, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(root) }()
	at, err := unix.Openat2(root, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(at) }()
	var st unix.Stat_t
	if err := unix.Fstat(at, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > maxContainer {
		return nil, errors.New("not a regular file of up to 16 MiB")
	}
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(at), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxContainer))
}
